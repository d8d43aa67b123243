//! Ids, ranges and descriptions of resources.

use crate::access::BufferUsage;
use std::ops::Range;
use std::sync::Arc;

/// A resource that lives on from frame to frame, registered with a [`GraphState`](crate::GraphState).
///
/// The id is an index and a generation: after [`GraphState::remove`](crate::GraphState::remove) an id is stale, and a frame that names
/// it fails with [`GraphError::StaleResource`](crate::GraphError::StaleResource).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, try_from = "SavedId")
)]
pub struct ResourceId {
    pub(crate) index: u32,
    pub(crate) version: u32,
}

/// An id in a file.
#[cfg(feature = "json")]
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedId {
    index: u32,
    version: u32,
}

/// Versions that are in use are odd; the slot map takes an even one for the odd one after it, so that two ids would
/// name one resource.
#[cfg(feature = "json")]
impl TryFrom<SavedId> for ResourceId {
    type Error = String;
    fn try_from(SavedId { index, version }: SavedId) -> Result<Self, String> {
        match version % 2 {
            1 => Ok(ResourceId { index, version }),
            _ => Err(format!("no resource has version {version}: versions are odd")),
        }
    }
}

impl ResourceId {
    /// The slot of this resource: small, dense, and reused after the resource is removed.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }
}

/// A resource that lives inside one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct TransientId {
    pub(crate) index: u32,
    pub(crate) frame: u32,
}

impl TransientId {
    /// The position of this transient among those of its frame.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }
}

/// Any resource a frame can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub enum Resource {
    /// One that outlives the frame.
    Persistent(ResourceId),
    /// One that lives inside the frame.
    Transient(TransientId),
}

impl From<ResourceId> for Resource {
    fn from(id: ResourceId) -> Self {
        Resource::Persistent(id)
    }
}

impl From<TransientId> for Resource {
    fn from(id: TransientId) -> Self {
        Resource::Transient(id)
    }
}

/// A resource or a part of it: bytes `start..end`, half-open.
///
/// An id converts into the whole resource; `id.slice(a..b)` is a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct ResourceSlice {
    /// The resource.
    pub resource: Resource,
    /// First byte.
    pub start: u64,
    /// One past the last byte, or [`ResourceSlice::WHOLE`] for the end of the resource.
    pub end: u64,
}

impl ResourceSlice {
    /// As an `end`: up to the end of the resource, whatever its size.
    pub const WHOLE: u64 = u64::MAX;

    /// Bytes `range` of `resource`.
    #[must_use]
    pub const fn new(resource: Resource, range: Range<u64>) -> Self {
        ResourceSlice { resource, start: range.start, end: range.end }
    }
}

impl<R: Into<Resource>> From<R> for ResourceSlice {
    fn from(resource: R) -> Self {
        ResourceSlice { resource: resource.into(), start: 0, end: Self::WHOLE }
    }
}

macro_rules! sliceable {
    ($($t:ty),*) => {$(
        impl $t {
            /// Bytes `range` of this resource.
            #[must_use]
            pub fn slice(self, range: Range<u64>) -> ResourceSlice {
                ResourceSlice::new(self.into(), range)
            }
        }
    )*};
}
sliceable!(ResourceId, TransientId);

/// Describes a persistent buffer to a [`GraphState`](crate::GraphState).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct BufferDesc {
    /// Its name in errors and dumps.
    pub name: Arc<str>,
    /// Bytes.
    pub size: u64,
    /// What it may be used for; a frame that uses it otherwise is refused.
    pub usage: BufferUsage,
    /// Whether the bytes count as written before the first frame (imported content, mapped memory).
    pub initialized: bool,
    /// Whether the host may look at the bytes once a frame is done: then device writes end with a dependency to the
    /// host.
    pub host_visible: bool,
    /// Whether a compute shader can write it by address, so that uploads to it may be [scattered](crate::uploads).
    #[cfg_attr(feature = "json", serde(default))]
    pub scatter: bool,
}

impl BufferDesc {
    /// A buffer of `size` bytes whose content is undefined, which the host cannot see and no shader reaches by address.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, size: u64, usage: BufferUsage) -> Self {
        BufferDesc { name: name.into(), size, usage, initialized: false, host_visible: false, scatter: false }
    }
}

/// Memory of the host that uploads read and readbacks fill: a staging buffer, known to the planner by number only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct HostSlice {
    /// Number of the staging buffer, given by whoever declares the frame.
    pub buffer: u32,
    /// First byte in it.
    pub offset: u64,
}
