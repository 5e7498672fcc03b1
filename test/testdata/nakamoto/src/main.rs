//! The light client of the tests: nakamoto with one peer, as nakamoto-node runs it, but on regtest. For every block that
//! becomes its tip it prints a line of JSON. It ends at the height that it is given.

use std::net::{SocketAddr, TcpStream};
use std::thread;

use nakamoto_client::handle::Handle;
use nakamoto_client::{Client, Config, Error, Event, Network};

type Reactor = nakamoto_net_poll::Reactor<TcpStream>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, root, peer, until] = args.as_slice() else {
        return Err("usage: nakamoto ROOT PEER HEIGHT".into());
    };
    let peer: SocketAddr = peer.parse()?;
    let until: u64 = until.parse()?;
    let mut config = Config {
        connect: vec![peer],
        root: root.into(),
        ..Config::new(Network::Regtest)
    };
    config.limits.max_outbound_peers = 1;

    let client = Client::<Reactor>::new()?;
    let events = client.handle().events();
    thread::spawn(move || -> Result<(), Error> {
        client.run(config).inspect_err(|err| eprintln!("{err}")) // and there are no more events
    });
    for event in events {
        if let Event::BlockConnected { height, hash, .. } = event {
            println!(r#"{{"height":{height},"hash":"{hash}"}}"#);
            if height >= until {
                return Ok(());
            }
        }
    }
    Err("nakamoto ended".into())
}
