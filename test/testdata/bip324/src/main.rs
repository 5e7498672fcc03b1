//! One end of many v2 sessions, with the bip324 crate. As the initiator it connects to an address; as the responder it
//! listens on an address, which it prints. Each session sends garbage of another length, up to the maximum, and up to
//! two decoys before its version packet; then a packet with the given contents, if there are any. Then it echoes the
//! packets that it gets, each after a decoy, until the other end hangs up.

use std::io::BufReader;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use bip324::io::{Payload, Protocol};
use bip324::{PacketType, Role};

type Failure = Box<dyn std::error::Error>;

const MAINNET: [u8; 4] = [0xf9, 0xbe, 0xb4, 0xd9];
const MAX_GARBAGE: usize = 4095;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (sessions, packets, addr, first) = match args.as_slice() {
        [_, sessions, packets] => (sessions, packets, None, ""),
        [_, sessions, packets, addr] => (sessions, packets, Some(*addr), ""),
        [_, sessions, packets, addr, first] => (sessions, packets, Some(*addr), *first),
        _ => return Err("usage: peer SESSIONS PACKETS [ADDRESS [HEX]]".into()),
    };
    let first: Vec<u8> =
        (0..first.len()).step_by(2).map(|i| u8::from_str_radix(&first[i..i + 2], 16)).collect::<Result<_, _>>()?;
    let (sessions, packets): (usize, usize) = (sessions.parse()?, packets.parse()?);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening on {}", listener.local_addr()?);
    for i in 0..sessions {
        let (stream, role) = match addr {
            Some(addr) => (TcpStream::connect(addr)?, Role::Initiator),
            None => (listener.accept()?.0, Role::Responder),
        };
        let garbage = vec![i as u8; i * MAX_GARBAGE / (sessions - 1)];
        let decoys = vec![vec![0; 100]; i % 3];
        session(stream, role, garbage, decoys, &first, packets).map_err(|err| format!("session {i}: {err}"))?;
    }
    Ok(())
}

fn session(
    stream: TcpStream,
    role: Role,
    garbage: Vec<u8>,
    decoys: Vec<Vec<u8>>,
    first: &[u8],
    packets: usize,
) -> Result<(), Failure> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.set_nodelay(true)?;
    let reader = BufReader::new(stream.try_clone()?);
    let mut protocol = Protocol::new(MAINNET, role, Some(garbage), Some(decoys), reader, stream)?;
    if !first.is_empty() {
        protocol.write(&Payload::genuine(first.to_vec()))?;
    }
    let mut echoed = 0;
    while echoed < packets {
        let packet = protocol.read()?;
        if packet.packet_type() == PacketType::Genuine {
            protocol.write(&Payload::decoy(vec![0; 10]))?;
            protocol.write(&Payload::genuine(packet.contents()))?;
            echoed += 1;
        }
    }
    match protocol.read() {
        Ok(packet) => Err(format!("one more packet, of {} bytes", packet.contents().len()).into()),
        Err(_) => Ok(()), // the other end hung up
    }
}
