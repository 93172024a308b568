//! Calls between masters as they travel: with the cluster they are of, and sealed with the secret that its masters share.
//!
//! A call is `version, nonce, cluster, body, seal`, its answer `body, seal`. The seal of a call is over its kind and whom
//! it is for as well, that of an answer over the nonce of the call: neither can be made, changed, sent to somebody else or
//! answered without the secret. Without one the seals are there and keep nobody out.

use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

/// Version of the calls.
const VERSION: u8 = 1;
/// Bytes of an [`Id`].
const ID: usize = 16;
/// Bytes of a seal.
const SEAL: usize = 32;

/// A random number that nothing else has: of a cluster, of a master's file, of a call.
pub(super) type Id = [u8; ID];

/// A new one.
pub(crate) fn new_id() -> std::io::Result<Id> {
    let mut id = [0; ID];
    SystemRandom::new()
        .fill(&mut id)
        .map_err(|_| std::io::Error::other("the system gives no random numbers"))?;
    Ok(id)
}

/// Why a call or an answer is not taken.
pub(super) const NOT_SEALED: &str = "the seal is wrong; --peers_secret must name the same secret for all masters, and a master be called by the address that it announces";

/// A call that was opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened<'a> {
    pub(super) nonce: Id,
    /// The cluster of the caller.
    pub(super) cluster: Id,
    pub(super) body: &'a [u8],
}

/// Seals and opens.
#[derive(Debug)]
pub(super) struct Sealer {
    key: hmac::Key,
}

fn parts<'a>(parts: &[&'a [u8]]) -> Vec<u8> {
    // Each with its length, so that no two lists look the same.
    let with_length = |part: &&'a [u8]| [&(part.len() as u64).to_be_bytes()[..], part].concat();
    parts.iter().map(with_length).collect::<Vec<_>>().concat()
}

impl Sealer {
    pub(super) fn new(secret: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    pub(super) fn call(
        &self,
        kind: &str,
        to: &str,
        nonce: &Id,
        cluster: &Id,
        body: &[u8],
    ) -> Vec<u8> {
        let mut call = [&[VERSION][..], nonce, cluster, body].concat();
        let seal = hmac::sign(&self.key, &parts(&[b"call", kind.as_bytes(), to.as_bytes(), &call]));
        call.extend_from_slice(seal.as_ref());
        call
    }

    /// Opens a call to `me`.
    ///
    /// # Errors
    /// Why it is not taken.
    pub(super) fn open<'a>(
        &self,
        kind: &str,
        me: &str,
        bytes: &'a [u8],
    ) -> Result<Opened<'a>, &'static str> {
        let cut = bytes.len().checked_sub(SEAL).ok_or("it is too short")?;
        let (call, seal) = bytes.split_at(cut);
        let (version, rest) = call.split_first().ok_or("it is too short")?;
        if *version != VERSION {
            return Err("it is of another version of masters");
        }
        let sealed = parts(&[b"call", kind.as_bytes(), me.as_bytes(), call]);
        hmac::verify(&self.key, &sealed, seal).map_err(|_| NOT_SEALED)?;
        let (nonce, rest) = rest.split_first_chunk().ok_or("it is too short")?;
        let (cluster, body) = rest.split_first_chunk().ok_or("it is too short")?;
        Ok(Opened { nonce: *nonce, cluster: *cluster, body })
    }

    pub(super) fn answer(&self, nonce: &Id, mut body: Vec<u8>) -> Vec<u8> {
        let seal = hmac::sign(&self.key, &parts(&[b"answer", nonce, &body]));
        body.extend_from_slice(seal.as_ref());
        body
    }

    /// Opens the answer to the call of this nonce.
    ///
    /// # Errors
    /// Why it is not taken.
    pub(super) fn open_answer<'a>(
        &self,
        nonce: &Id,
        bytes: &'a [u8],
    ) -> Result<&'a [u8], &'static str> {
        let cut = bytes.len().checked_sub(SEAL).ok_or("it is too short")?;
        let (body, seal) = bytes.split_at(cut);
        let sealed = parts(&[b"answer", nonce, body]);
        hmac::verify(&self.key, &sealed, seal).map_err(|_| NOT_SEALED)?;
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whoever_has_the_secret_calls_and_answers() {
        let (ours, theirs) = (Sealer::new(b"secret"), Sealer::new(b""));
        let (nonce, cluster) = ([1; ID], [2; ID]);
        let call = ours.call("vote", "h:1", &nonce, &cluster, b"body");
        assert_eq!(ours.open("vote", "h:1", &call), Ok(Opened { nonce, cluster, body: b"body" }));
        assert_eq!(theirs.open("vote", "h:1", &call), Err(NOT_SEALED));
        assert_eq!(ours.open("append", "h:1", &call), Err(NOT_SEALED), "another call");
        assert_eq!(ours.open("vote", "h:2", &call), Err(NOT_SEALED), "for somebody else");
        for at in 1..call.len() {
            let mut changed = call.clone();
            changed[at] ^= 1;
            assert_eq!(ours.open("vote", "h:1", &changed), Err(NOT_SEALED), "byte {at}");
        }
        let answer = ours.answer(&nonce, b"yes".to_vec());
        assert_eq!(ours.open_answer(&nonce, &answer), Ok(&b"yes"[..]));
        assert_eq!(ours.open_answer(&[3; ID], &answer), Err(NOT_SEALED), "to another call");
        assert_eq!(theirs.open_answer(&nonce, &answer), Err(NOT_SEALED));
        assert!(ours.open("vote", "h:1", b"").is_err() && ours.open_answer(&nonce, b"").is_err());
    }
}
