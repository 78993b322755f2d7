//! What users do with images: one verb a file.

mod attestations;
mod diff;
mod distribution;
mod filter;
mod history;
mod import;
mod inspect;
mod list;
mod load;
mod login;
mod mount;
mod prune;
mod pull;
mod push;
mod remove;
mod save;
mod scp;
mod search;
mod tag;
mod tree;

pub use attestations::{Statement, StatementOptions, statements};
pub use diff::diff;
pub(super) use diff::{NOT_OF_IMAGES, Seen, compare, layers};
pub use distribution::{Distribution, distribution};
pub use history::{HistoryEntry, history};
pub use import::{ImportSource, import};
pub use inspect::{Inspection, ManifestFacts, inspect};
pub(super) use list::usage;
pub use list::{ListOptions, Listing, Usage, exists, list};
pub use load::{LoadOptions, load, load_from_web};
pub use login::{
    CredentialFiles, Login, LoginDialog, LoginOptions, Logout, check_login, logged_in,
    logged_in_as, login, logout, logout_all,
};
pub use mount::{MountedImage, mount, mount_all, mounted, unmount};
pub use prune::{PruneOptions, prune};
pub(super) use pull::attempt;
pub use pull::{Choose, PullOptions, PullPolicy, pull, pull_all_tags, pull_named};
pub use push::{push, push_all_tags, push_made};
pub(super) use remove::Batch;
pub use remove::{Removals, RemoveOptions, is_used, remove, remove_all};
pub use save::save;
pub use scp::scp;
pub use search::{Found, SearchHit, SearchOptions, search, search_tags};
pub(super) use tag::check_new_name;
pub use tag::{tag, untag};
pub use tree::{LayerNode, Tree, tree};

pub use crate::image::archive::ArchiveSource;
pub use crate::image::changes::{Change, ChangeKind};
pub use crate::image::import::ImportOptions;
pub use crate::image::outgoing::Form;
pub use crate::image::policy::SigningOptions;
pub use crate::image::progress::{Progress, ProgressEvent, Silent};
pub use crate::image::pull::tags;
pub use crate::image::push::{PushOptions, Pushed};
pub use crate::image::registry::RegistryOptions;
pub use crate::image::save::{SaveFormat, SaveTarget, whole_file};

/// Frees what a pull or load that has failed on a full disk leaves for the next try.
///
/// After any other failure it stays, and the next try goes on from there.
pub(super) fn free_space(store: &crate::store::Store, error: &crate::error::Error) {
    if error.is_full_disk() {
        let freed = store.try_exclusive().and_then(|lock| match lock {
            Some(lock) => {
                let garbage = store.collect_garbage(&lock)?;
                drop(lock);
                garbage.erase()
            }
            // Others are making something; it is not to be waited for.
            None => Ok(0),
        });
        // The failure to report is the first one.
        drop(store.remove_partials());
        drop(freed);
    }
}
