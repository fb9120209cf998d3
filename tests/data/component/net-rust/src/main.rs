//! Talks over sockets with the bindings of crates.io's `wasi`: `net COMMAND ARGUMENT...`, see `main`.
use std::env;
use std::fmt::Debug;
use wasi::io::streams::{InputStream, OutputStream, StreamError};
use wasi::sockets::instance_network::instance_network;
use wasi::sockets::ip_name_lookup::resolve_addresses;
use wasi::sockets::network::{ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
use wasi::sockets::tcp::{ShutdownType, TcpSocket};
use wasi::sockets::tcp_create_socket::create_tcp_socket;
use wasi::sockets::udp::{OutgoingDatagram, UdpSocket};
use wasi::sockets::udp_create_socket::create_udp_socket;

type Done<T = ()> = Result<T, String>;

fn say<E: Debug>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error:?}")
}

/// "127.0.0.1:80"
fn address(text: &str) -> Done<IpSocketAddress> {
    let (host, port) = text.split_once(':').ok_or("no port")?;
    let parts: Vec<u8> = host.split('.').filter_map(|p| p.parse().ok()).collect();
    let [a, b, c, d] = parts[..] else { return Err("no IPv4 address".into()) };
    let port = port.parse().map_err(say("port"))?;
    Ok(IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (a, b, c, d) }))
}

fn show(address: &IpSocketAddress) -> String {
    match address {
        IpSocketAddress::Ipv4(v4) => {
            let (a, b, c, d) = v4.address;
            format!("{a}.{b}.{c}.{d}:{}", v4.port)
        }
        IpSocketAddress::Ipv6(v6) => format!("{:?}:{}", v6.address, v6.port),
    }
}

/// Calls until it is not would-block.
fn wait<T>(what: &'static str, pollable: &wasi::io::poll::Pollable,
           mut call: impl FnMut() -> Result<T, ErrorCode>) -> Done<T> {
    loop {
        match call() {
            Err(ErrorCode::WouldBlock) => pollable.block(),
            other => return other.map_err(say(what)),
        }
    }
}

fn tcp() -> Done<TcpSocket> {
    create_tcp_socket(IpAddressFamily::Ipv4).map_err(say("create"))
}

fn read_all(input: &InputStream) -> Done<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        match input.blocking_read(10_000) {
            Ok(bytes) => all.extend(bytes),
            Err(StreamError::Closed) => return Ok(all),
            Err(error) => return Err(format!("read: {error:?}")),
        }
    }
}

fn write_all(output: &OutputStream, bytes: &[u8]) -> Done {
    for part in bytes.chunks(4096) {
        output.blocking_write_and_flush(part).map_err(say("write"))?;
    }
    Ok(())
}

/// Prints where it listens, echoes `count` connections in capitals.
fn serve(at: &str, count: usize) -> Done {
    let socket = tcp()?;
    let pollable = socket.subscribe();
    socket.start_bind(&instance_network(), address(at)?).map_err(say("bind"))?;
    socket.finish_bind().map_err(say("bind"))?;
    socket.start_listen().map_err(say("listen"))?;
    socket.finish_listen().map_err(say("listen"))?;
    println!("{}", show(&socket.local_address().map_err(say("address"))?));
    for _ in 0..count {
        let (connection, input, output) = wait("accept", &pollable, || socket.accept())?;
        let mut text = read_all(&input)?;
        text.make_ascii_uppercase();
        write_all(&output, &text)?;
        drop((input, output));
        drop(connection);
    }
    Ok(())
}

fn connect(at: &str) -> Done<(TcpSocket, InputStream, OutputStream)> {
    let socket = tcp()?;
    let pollable = socket.subscribe();
    socket.start_connect(&instance_network(), address(at)?).map_err(say("connect"))?;
    let (input, output) = wait("connect", &pollable, || socket.finish_connect())?;
    drop(pollable);
    Ok((socket, input, output))
}

/// Sends `count` bytes of text; prints what comes back: its length, its beginning, and whether all
/// of it is right.
fn send(at: &str, count: usize) -> Done {
    let (socket, input, output) = connect(at)?;
    let text: Vec<u8> = b"hello ".iter().copied().cycle().take(count).collect();
    write_all(&output, &text)?;
    socket.shutdown(ShutdownType::Send).map_err(say("shutdown"))?;
    let back = read_all(&input)?;
    println!("{} {} {}", back.len(), String::from_utf8_lossy(&back[..5.min(back.len())]),
             back == text.to_ascii_uppercase());
    Ok(())
}

fn udp(at: &str) -> Done<(UdpSocket, IpSocketAddress)> {
    let socket = create_udp_socket(IpAddressFamily::Ipv4).map_err(say("create"))?;
    socket.start_bind(&instance_network(), address(at)?).map_err(say("bind"))?;
    socket.finish_bind().map_err(say("bind"))?;
    let here = socket.local_address().map_err(say("address"))?;
    Ok((socket, here))
}

/// A datagram from one socket to another and, connected, back.
fn datagrams(at: &str) -> Done {
    let ((one, _), (two, there)) = (udp(at)?, udp(at)?);
    let (one_in, one_out) = one.stream(None).map_err(say("stream"))?;
    one_out.check_send().map_err(say("check"))?;
    let ping = OutgoingDatagram { data: b"ping".to_vec(), remote_address: Some(there) };
    one_out.send(&[ping]).map_err(say("send"))?;
    let (two_in, _) = two.stream(None).map_err(say("stream"))?;
    two_in.subscribe().block();
    let got = two_in.receive(10).map_err(say("receive"))?;
    println!("{} {}", got.len(), String::from_utf8_lossy(&got[0].data));
    drop(two_in);
    let (_, two_out) = two.stream(Some(got[0].remote_address)).map_err(say("stream"))?;
    two_out.check_send().map_err(say("check"))?;
    two_out.send(&[OutgoingDatagram { data: b"pong".to_vec(), remote_address: None }]).map_err(say("send"))?;
    one_in.subscribe().block();
    let got = one_in.receive(10).map_err(say("receive"))?;
    println!("{} {}", got.len(), String::from_utf8_lossy(&got[0].data));
    Ok(())
}

fn resolve(name: &str) -> Done {
    let stream = resolve_addresses(&instance_network(), name).map_err(say("resolve"))?;
    let pollable = stream.subscribe();
    let mut loopback = false;
    while let Some(address) = wait("resolve", &pollable, || stream.resolve_next_address())? {
        loopback |= matches!(address, IpAddress::Ipv4((127, 0, 0, 1)));
    }
    println!("{loopback}");
    Ok(())
}

/// Calls in wrong states and with wrong arguments.
fn wrong(at: &str) -> Done {
    let socket = tcp()?;
    println!("{:?}", socket.finish_bind().unwrap_err());
    println!("{:?}", socket.start_listen().unwrap_err());
    println!("{:?}", socket.local_address().unwrap_err());
    println!("{:?}", socket.accept().unwrap_err());
    println!("{:?}", socket.start_connect(&instance_network(), address("0.0.0.0:80")?).unwrap_err());
    println!("{:?}", socket.set_hop_limit(0).unwrap_err());
    socket.set_hop_limit(7).map_err(say("hop limit"))?;
    println!("{}", socket.hop_limit().map_err(say("hop limit"))?);
    socket.set_keep_alive_idle_time(1_500_000_000).map_err(say("keep alive"))?;
    println!("{}", socket.keep_alive_idle_time().map_err(say("keep alive"))?);
    let refused = connect(at).err().unwrap_or_default();
    println!("{refused}");
    // the pollable outlives what it is of
    let (socket, input, output) = connect_nowhere()?;
    let pollables = (socket.subscribe(), input, output);
    drop(socket);
    println!("{}", pollables.0.ready());
    Ok(())
}

fn connect_nowhere() -> Done<(TcpSocket, u8, u8)> {
    Ok((tcp()?, 0, 0))
}

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let word = |i: usize| words.get(i).map(String::as_str).unwrap_or("");
    let number = |i: usize| word(i).parse().unwrap_or(1);
    let done = match word(0) {
        "serve" => serve(word(1), number(2)),
        "send" => send(word(1), number(2)),
        "datagrams" => datagrams(word(1)),
        "resolve" => resolve(word(1)),
        "wrong" => wrong(word(1)),
        _ => Err("commands: serve send datagrams resolve wrong".into()),
    };
    if let Err(error) = done {
        println!("error: {error}");
        std::process::exit(1);
    }
}
