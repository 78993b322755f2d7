//! What users do with images: one verb a file.

mod history;
mod import;
mod inspect;
mod list;
mod load;
mod login;
mod pull;
mod push;
mod remove;
mod search;
mod tag;

pub use history::{HistoryEntry, history};
pub use import::import;
pub use inspect::{Inspection, inspect};
pub use list::{exists, list};
pub use load::load;
pub use login::{
    CredentialFiles, Login, LoginDialog, LoginOptions, Logout, logged_in_as, login, logout,
    logout_all,
};
pub use pull::{Choose, PullOptions, PullPolicy, pull, pull_all_tags, pull_named};
pub use push::push;
pub use remove::{remove, users};
pub use search::{Found, SearchHit, SearchOptions, search, search_tags};
pub(super) use tag::check_new_name;
pub use tag::{tag, untag};

pub use crate::image::archive::ArchiveSource;
pub use crate::image::import::ImportOptions;
pub use crate::image::policy::SigningOptions;
pub use crate::image::progress::{Progress, ProgressEvent, Silent};
pub use crate::image::push::{PushOptions, Pushed};
pub use crate::image::registry::RegistryOptions;

/// Frees what a pull or load that has failed on a full disk leaves for the next try.
///
/// After any other failure it stays, and the next try goes on from there.
fn free_space(store: &crate::store::Store, error: &crate::error::Error) {
    if error.is_full_disk() {
        let lock = store.try_exclusive();
        // The failure to report is the first one.
        drop(store.remove_partials());
        drop(lock.map(|lock| lock.map(|lock| store.images().collect_garbage(&lock))));
    }
}
