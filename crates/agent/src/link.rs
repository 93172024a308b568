//! The link to the leading master: dialled again and again.

use crate::shared::Shared;
use agent_core::contract::Input;
use detector::{DetectError, Detector};
use http_api::link::Dialed;
use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use wire::internal;
use wire::internal::master_to_agent::Message;

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A link that breaks sooner counts as one that could not be opened.
const LASTING: Duration = Duration::from_secs(10);
/// How often one of several masters is asked who leads, within a half: one that hangs tells nobody.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The ways to the leading master: its name, and all masters as the last leader has told of them.
struct Masters {
    name: Detector,
    told: Mutex<Vec<String>>,
}

impl Masters {
    /// The addresses to try now, those of the name first.
    async fn addresses(&self) -> Result<Vec<String>, DetectError> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match self.name.addresses().await {
            Ok(mut addresses) => {
                addresses.extend(told);
                let mut seen = BTreeSet::new();
                addresses.retain(|address| seen.insert(address.clone()));
                Ok(addresses)
            }
            Err(_) if !told.is_empty() => Ok(told),
            Err(error) => Err(error),
        }
    }

    /// Who is alone is known already.
    fn learn(&self, mut addresses: Vec<String>) {
        if addresses.len() < 2 {
            addresses.clear();
        }
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }
}

/// Keeps a link until the process ends.
pub(crate) async fn keep(shared: Arc<Shared>, master: Detector, mut stop: watch::Receiver<bool>) {
    let masters = Masters { name: master, told: Mutex::default() };
    tokio::select! {
        () = dial_forever(shared, masters) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

async fn dial_forever(shared: Arc<Shared>, masters: Masters) {
    let mut pause = PAUSE_MIN;
    let mut told = String::new();
    loop {
        let addresses = match masters.addresses().await {
            Ok(addresses) => addresses,
            Err(error) => {
                let text = error.to_string();
                if told != text {
                    tracing::warn!(%error, "cannot find the master; trying again");
                    told = text;
                }
                Vec::new()
            }
        };
        for address in addresses {
            match http_api::link::dial(&address).await {
                Ok(Dialed { sender, receiver, master: id }) => {
                    tracing::info!(%address, "connected to the master");
                    told.clear();
                    let begin = Instant::now();
                    let deposed = async {
                        tokio::select! {
                            () = masters.name.other_than(&address) => {}
                            () = another_leads(&masters, id) => {}
                        }
                    };
                    serve(&shared, &masters, sender, receiver, deposed).await;
                    if begin.elapsed() >= LASTING {
                        pause = PAUSE_MIN;
                    }
                    tracing::info!(%address, "disconnected from the master");
                }
                Err(error) => {
                    let text = error.to_string();
                    if told != text {
                        tracing::warn!(%address, %error, "cannot connect to the master; trying again");
                        told = text;
                    }
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Waits until a master of another id leads, as one of those tells that are known; for ever if there is only one.
async fn another_leads(masters: &Masters, id: Option<String>) {
    let Some(id) = id else { return std::future::pending().await };
    let mut turn = 0;
    loop {
        turn += 1;
        // Not all agents at once.
        let random = RandomState::new().build_hasher().finish();
        let part = Duration::from_millis(random % 1000) * LOOK_EVERY.as_secs() as u32;
        tokio::time::sleep(LOOK_EVERY / 2 + part).await;
        let addresses = masters.addresses().await.unwrap_or_default();
        if addresses.len() < 2 {
            continue;
        }
        // The next one that answers.
        for address in addresses.iter().cycle().skip(turn % addresses.len()).take(addresses.len()) {
            match http_api::link::leading(address).await {
                Ok(Some(leading)) if leading != id => return,
                Ok(_) => break,
                Err(_) => {}
            }
        }
    }
}

async fn serve(
    shared: &Arc<Shared>,
    masters: &Masters,
    sender: http_api::link::LinkSender,
    mut receiver: http_api::link::LinkReceiver,
    deposed: impl Future<Output = ()>,
) {
    let connection = shared.token();
    let dropped = shared.set_link(connection, sender);
    if shared.inputs.send(Input::MasterConnected { connection }).await.is_err() {
        return;
    }
    tokio::pin!(dropped, deposed);
    loop {
        tokio::select! {
            message = receiver.next::<internal::MasterToAgent>() => match message {
                Ok(Some(internal::MasterToAgent { message: Some(Message::Masters(m)) })) => {
                    masters.learn(m.addresses);
                }
                Ok(Some(internal::MasterToAgent { message: Some(message) })) => {
                    let input = Input::FromMaster { connection, message: Box::new(message) };
                    if shared.inputs.send(input).await.is_err() {
                        return;
                    }
                }
                Ok(Some(_)) => tracing::debug!("a message of an unknown kind from the master"),
                Ok(None) => break,
                Err(error) => {
                    tracing::info!(%error, "the link to the master broke");
                    break;
                }
            },
            _ = &mut dropped => break,
            () = &mut deposed => {
                tracing::info!("another master leads now");
                break;
            }
        }
    }
    shared.clear_link(connection);
    let _ = shared.inputs.send(Input::MasterClosed { connection }).await;
}
