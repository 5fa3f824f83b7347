//! How a test says what there is, and what it then asks.

use std::time::Duration;

use super::Cloud;
use super::state::{Attachment, Credentials, Hold, Instance, Interface, Kept, Life, Link, Tags, Volume};

/// A volume just made; each method changes it at once and gives it back.
pub struct NewVolume(Cloud, String);
pub struct NewInstance(Cloud, String);
pub struct NewInterface(Cloud, String);

impl Cloud {
    pub fn volume(&self, id: &str, zone: &str, gib: u64) -> NewVolume {
        let volume = Volume {
            id: id.into(),
            zone: zone.into(),
            gib,
            snapshot: None,
            tags: Tags::new(),
            created: Duration::ZERO,
            unattached: "available".into(),
            attachment: None,
            mounted: false,
            stuck: false,
        };
        self.with(|state| state.volumes.insert(id.into(), Kept::new(volume)));
        NewVolume(self.clone(), id.into())
    }

    /// It runs, and takes 28 volumes and interfaces, the root among them.
    pub fn instance(&self, id: &str, zone: &str) -> NewInstance {
        let instance = Instance {
            id: id.into(),
            zone: zone.into(),
            life: Life::Running,
            since: Duration::ZERO,
            tags: Tags::new(),
            held: vec!["/dev/xvda".into()],
            limit: 28,
            interface_limit: 3,
        };
        self.with(|state| state.instances.insert(id.into(), Kept::new(instance)));
        NewInstance(self.clone(), id.into())
    }

    /// Its MAC and address are made from a counter.
    pub fn interface(&self, id: &str, zone: &str) -> NewInterface {
        self.with(|state| {
            let number = state.next();
            let (high, low) = (number / 250, number % 250 + 4);
            let interface = Interface {
                id: id.into(),
                zone: zone.into(),
                subnet: format!("subnet-{zone}"),
                mac: format!("02:00:00:00:{high:02x}:{low:02x}"),
                ip: format!("10.0.{high}.{low}"),
                tags: Tags::new(),
                link: None,
            };
            state.interfaces.insert(id.into(), Kept::new(interface));
        });
        NewInterface(self.clone(), id.into())
    }

    /// Changes a volume behind everyone's back.
    pub fn edit_volume(&self, id: &str, change: impl FnOnce(&mut Volume)) {
        self.with(|state| {
            let now = state.now;
            state.volumes.get_mut(id).unwrap_or_else(|| panic!("no volume {id}")).change(now, change);
        });
    }

    pub fn edit_instance(&self, id: &str, change: impl FnOnce(&mut Instance)) {
        self.with(|state| {
            let now = state.now;
            state.instances.get_mut(id).unwrap_or_else(|| panic!("no instance {id}")).change(now, change);
        });
    }

    pub fn edit_interface(&self, id: &str, change: impl FnOnce(&mut Interface)) {
        self.with(|state| {
            let now = state.now;
            state.interfaces.get_mut(id).unwrap_or_else(|| panic!("no interface {id}")).change(now, change);
        });
    }

    /// The volume as it is, not as a describe that lags would show it.
    pub fn see_volume(&self, id: &str) -> Volume {
        self.with(|state| state.volumes.get(id).unwrap_or_else(|| panic!("no volume {id}")).now().clone())
    }

    pub fn see_interface(&self, id: &str) -> Interface {
        self.with(|state| state.interfaces.get(id).unwrap_or_else(|| panic!("no interface {id}")).now().clone())
    }

    pub fn see_instance(&self, id: &str) -> Option<Instance> {
        self.with(|state| state.instance(id).cloned())
    }

    /// The instance that holds a volume or an interface, in whatever state.
    pub fn owner(&self, id: &str) -> Option<String> {
        self.with(|state| match state.volumes.get(id) {
            Some(kept) => kept.now().holder().map(str::to_owned),
            None => state.interfaces.get(id)?.now().link.as_ref().map(|link| link.instance.clone()),
        })
    }

    /// The tags of a volume, an instance or an interface.
    pub fn tags_of(&self, id: &str) -> Tags {
        self.with(|state| {
            let volume = state.volumes.get(id).map(|kept| kept.now().tags.clone());
            let instance = state.instances.get(id).map(|kept| kept.now().tags.clone());
            volume.or(instance).or_else(|| Some(state.interfaces.get(id)?.now().tags.clone())).unwrap_or_default()
        })
    }

    /// At once, whatever it was.
    pub fn set_life(&self, instance: &str, life: Life) {
        self.with(|state| {
            let now = state.now;
            let kept = state.instances.get_mut(instance).unwrap_or_else(|| panic!("no instance {instance}"));
            kept.change(now, |instance| (instance.life, instance.since) = (life, now));
        });
    }

    /// `shutting-down`, then `terminated`, then its volumes are let go.
    pub fn terminate(&self, instance: &str) {
        self.set_life(instance, Life::ShuttingDown);
    }

    /// `stopping`, then `stopped`; its volumes stay attached.
    pub fn stop(&self, instance: &str) {
        self.set_life(instance, Life::Stopping);
    }

    /// It is known no more, as an hour after it was terminated; what it held may still name it.
    pub fn forget(&self, instance: &str) {
        self.with(|state| state.instances.remove(instance));
    }

    /// What an instance's role gives; the same each time. The instance need not exist.
    pub fn credentials(&self, instance: &str) -> Credentials {
        let bare: String = instance.chars().filter(char::is_ascii_alphanumeric).collect();
        let given = Credentials {
            instance: instance.into(),
            key_id: format!("ASIA{}", bare.to_uppercase()),
            secret: format!("secret-of-{instance}-do-not-print"),
            token: format!("session-of-{instance}-do-not-print"),
        };
        self.with(|state| state.keys.insert(given.key_id.clone(), given.clone()));
        given
    }

    /// Everything secret that was given out: what no log may hold.
    pub fn secrets(&self) -> Vec<String> {
        self.with(|state| {
            let keys = state.keys.values().flat_map(|key| [key.secret.clone(), key.token.clone()]);
            keys.chain(state.imds_tokens.iter().cloned()).collect()
        })
    }
}

impl NewVolume {
    fn edit(self, change: impl FnOnce(&mut Volume)) -> NewVolume {
        self.0.edit_volume(&self.1, change);
        self
    }

    pub fn tag(self, key: &str, value: &str) -> NewVolume {
        self.edit(|volume| drop(volume.tags.insert(key.into(), value.into())))
    }

    pub fn snapshot(self, id: &str) -> NewVolume {
        self.edit(|volume| volume.snapshot = Some(id.into()))
    }

    /// `creating`, `deleting`, `error`.
    pub fn status(self, status: &str) -> NewVolume {
        self.edit(|volume| volume.unattached = status.into())
    }

    /// The attachment that comes never gets out of `attaching`.
    pub fn stuck(self) -> NewVolume {
        self.edit(|volume| volume.stuck = true)
    }

    /// Attached already. No hook is called for it.
    pub fn attached(self, instance: &str, device: &str) -> NewVolume {
        self.edit(|volume| {
            volume.attachment = Some(Attachment {
                instance: instance.into(),
                device: device.into(),
                hold: Hold::Attached,
                since: Duration::ZERO,
                at: Duration::ZERO,
                delete_on_termination: false,
                forced: false,
            });
        })
    }

    /// Its guest has it mounted.
    pub fn mounted(self) -> NewVolume {
        self.edit(|volume| volume.mounted = true)
    }
}

impl NewInstance {
    fn edit(self, change: impl FnOnce(&mut Instance)) -> NewInstance {
        self.0.edit_instance(&self.1, change);
        self
    }

    pub fn tag(self, key: &str, value: &str) -> NewInstance {
        self.edit(|instance| drop(instance.tags.insert(key.into(), value.into())))
    }

    pub fn life(self, life: Life) -> NewInstance {
        self.edit(|instance| instance.life = life)
    }

    /// The image holds this device name; no describe says so.
    pub fn held(self, device: &str) -> NewInstance {
        self.edit(|instance| instance.held.push(device.into()))
    }

    pub fn limit(self, devices: usize) -> NewInstance {
        self.edit(|instance| instance.limit = devices)
    }

    pub fn interface_limit(self, interfaces: usize) -> NewInstance {
        self.edit(|instance| instance.interface_limit = interfaces)
    }
}

impl NewInterface {
    fn edit(self, change: impl FnOnce(&mut Interface)) -> NewInterface {
        self.0.edit_interface(&self.1, change);
        self
    }

    pub fn tag(self, key: &str, value: &str) -> NewInterface {
        self.edit(|interface| drop(interface.tags.insert(key.into(), value.into())))
    }

    pub fn mac(self, mac: &str) -> NewInterface {
        self.edit(|interface| interface.mac = mac.into())
    }

    pub fn ip(self, ip: &str) -> NewInterface {
        self.edit(|interface| interface.ip = ip.into())
    }

    pub fn attached(self, instance: &str, index: u32) -> NewInterface {
        let id = format!("eni-attach-{}", self.1.trim_start_matches("eni-"));
        self.edit(|interface| {
            interface.link = Some(Link {
                id,
                instance: instance.into(),
                index,
                card: 0,
                hold: Hold::Attached,
                since: Duration::ZERO,
                at: Duration::ZERO,
                delete_on_termination: false,
            });
        })
    }
}
