//! The light client of the tests: kyoto with one peer and a SOCKS5 proxy. For every block that becomes its tip it
//! prints a line of JSON, with the filter and the block that it got from the peer. It ends at the height that it is
//! given. Through a proxy, kyoto speaks v1 only. The test writes bin/recipe.rs, which sets the proxy.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use bip157::{AddrV2, Builder, Event, Network, ServiceFlags, TrustedPeer};
use bitcoin::consensus::encode::serialize_hex;

#[path = "bin/recipe.rs"]
#[allow(dead_code)] // its main: it is a program by itself
mod recipe;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().collect();
    let [_, proxy, peer, until] = args.as_slice() else {
        return Err("usage: kyoto PROXY PEER HEIGHT".into());
    };
    let proxy: SocketAddr = proxy.parse()?;
    let until: u32 = until.parse()?;
    let peer = match peer.parse::<SocketAddr>() {
        Ok(addr) => TrustedPeer::from_socket_addr(addr),
        Err(_) => {
            let (host, port) = peer.rsplit_once(':').ok_or("a peer is HOST:PORT")?;
            let port = port.parse()?;
            match host {
                "onion" => TrustedPeer::new(AddrV2::TorV3([7; 32]), Some(port), ServiceFlags::NONE), // an onion service
                _ => TrustedPeer::from_hostname(host, port),
            }
        }
    };

    let builder = Builder::new(Network::Regtest)
        .add_peers(vec![peer.clone(), peer]) // or it would give up after a single attempt
        .whitelist_only()
        .required_peers(1)
        .fetch_witness_data()
        .handshake_timeout(Duration::from_secs(10))
        .response_timeout(Duration::from_secs(15));
    let (node, mut client) = recipe::through_proxy(builder, proxy).build();
    tokio::spawn(async move {
        if let Err(err) = node.run().await {
            eprintln!("{err}"); // and there are no more events
        }
    });
    let mut filters = HashMap::new();
    while let Some(event) = client.event_rx.recv().await {
        match event {
            Event::IndexedFilter(filter) => {
                filters.insert(filter.block_hash(), filter.into_contents());
            }
            Event::FiltersSynced(update) => {
                let tip = update.tip();
                let filter = filters.get(&tip.hash).ok_or("no filter for the tip")?;
                let filter: String = filter.iter().map(|b| format!("{b:02x}")).collect();
                let block = client.requester.get_block(tip.hash).await?;
                println!(
                    r#"{{"height":{},"hash":"{}","filter":"{}","block":"{}"}}"#,
                    tip.height,
                    tip.hash,
                    filter,
                    serialize_hex(&block.block)
                );
                if tip.height >= until {
                    client.requester.shutdown()?;
                    return Ok(());
                }
            }
            Event::ChainUpdate(_) => {}
        }
    }
    Err("the node has ended".into())
}
