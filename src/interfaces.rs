//! Network interfaces: attached beside the volumes, or together with the volume of their slot. One whose link the
//! kernel has is left alone, and nobody is asked.

use anyhow::anyhow;

use crate::config::{Eni, Interface};
use crate::error::Failure;
use crate::root::Root;
use crate::state::{self, Link};

/// An interface that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Up {
    /// The kernel's name for it.
    pub name: String,
    /// What EC2 said of it.
    pub link: Link,
    /// Whether this run attached it.
    pub attached: bool,
}

/// Has the interface attached, unless it goes with a volume.
pub fn bring_up(interface: &Interface, root: &Root) -> Result<Up, Failure> {
    match (look(interface, root), &interface.eni) {
        (Some(up), _) => Ok(up),
        (None, Eni::SlotOf(volume)) => {
            Err(Failure::Failed(anyhow!("it goes with the volume `{volume}`, which is not there")))
        }
        (None, Eni::Id(_) | Eni::Tags(_)) => attach(interface, root),
    }
}

/// The interface, where it is there.
pub fn look(interface: &Interface, root: &Root) -> Option<Up> {
    let link: Link = state::recall(root, &interface.name)?;
    let meant = match &interface.eni {
        Eni::Id(id) => *id == link.id,
        Eni::Tags(_) | Eni::SlotOf(_) => true,
    };
    let name = link.name().filter(|_| meant)?;
    Some(Up { name, link, attached: false })
}

#[cfg(not(feature = "ec2"))]
fn attach(_: &Interface, _: &Root) -> Result<Up, Failure> {
    Err(Failure::without_ec2("attach the interface by other means"))
}

#[cfg(feature = "ec2")]
fn attach(interface: &Interface, root: &Root) -> Result<Up, Failure> {
    use crate::ec2::{self, api::Which, wait::Patience};
    let began = std::time::Instant::now();
    let nic = ec2::with(async |ec2| {
        let mut patience = Patience::new(interface.timeout);
        let tags;
        let which = match &interface.eni {
            Eni::Id(id) => Which::Id(id),
            Eni::Tags(asked) => {
                tags = ec2.tags(asked).await?;
                Which::Tags(&tags)
            }
            Eni::SlotOf(_) => unreachable!("it came with its volume, or it has failed above"),
        };
        Ok(ec2::interface::hold(ec2, &which, interface.device_index, &mut patience).await?)
    })?;
    let link = Link { id: nic.id, mac: nic.mac, address: nic.address };
    let name = link.arrives(interface.timeout.saturating_sub(began.elapsed()))?;
    state::remember(root, &interface.name, &link)?;
    Ok(Up { name, link, attached: true })
}

/// Detaches the interface, and waits until others can have it; says what was done.
#[cfg(not(feature = "ec2"))]
pub fn release(_: &Interface, _: &Root) -> Result<Vec<String>, Failure> {
    Err(Failure::without_ec2("detach the interface by other means"))
}

/// Detaches the interface, and waits until others can have it; says what was done.
#[cfg(feature = "ec2")]
pub fn release(interface: &Interface, root: &Root) -> Result<Vec<String>, Failure> {
    use crate::ec2::{self, wait::Patience};
    let Some(link) = state::recall::<Link>(root, &interface.name) else { return Ok(Vec::new()) };
    let here = ec2::with(async |ec2| {
        Ok(ec2::interface::give_back(ec2, &link.id, &mut Patience::new(interface.timeout)).await?)
    })?;
    state::forget::<Link>(root, &interface.name)?;
    Ok(here.then(|| format!("{} detached", link.id)).into_iter().collect())
}
