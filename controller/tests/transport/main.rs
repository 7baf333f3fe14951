//! The carriers against real peers: the embedded server, OpenSSH's sshd, dropbear, `/bin/sh` here, and servers
//! that mean harm. A peer that is not installed is skipped with a message.

mod dropbear;
mod embedded;
mod hostile;
mod local;
mod login;
mod openssh;
mod patience;
mod silence;
mod support;
