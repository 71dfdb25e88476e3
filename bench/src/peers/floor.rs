//! What the kernel alone takes: sockets in a list, and one `write` to each. No server can be cheaper that gives every
//! event to every socket by itself.

use std::io::{BufRead as _, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use socket2::{Domain, Socket, Type};

use super::wire::stamp;

/// As many as Crier has.
const BACKLOG: i32 = 4096;
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: open\n\n";

/// Says its address, takes connections, and writes an event for each line `number bytes` on standard input.
pub(crate) fn run() -> anyhow::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    println!("floor on http://{}", listener.local_addr()?);
    let (sender, accepted) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if stream
                .and_then(greet)
                .is_ok_and(|stream| sender.send(stream).is_err())
            {
                break;
            }
        }
    });
    let mut sockets: Vec<TcpStream> = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        sockets.extend(accepted.try_iter());
        let Some((number, bytes)) = line.split_once(' ') else {
            // All have left.
            sockets.clear();
            continue;
        };
        let stamp = stamp(number.parse()?);
        let bytes: usize = bytes.parse()?;
        let event = format!("data: {stamp}{}\n\n", "x".repeat(bytes.saturating_sub(40)));
        sockets.retain_mut(|socket| socket.write_all(event.as_bytes()).is_ok());
    }
    Ok(())
}

fn greet(mut stream: TcpStream) -> std::io::Result<TcpStream> {
    let mut head = [0; 2048];
    let _ = stream.read(&mut head)?;
    stream.write_all(HEAD)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
