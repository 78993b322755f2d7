//! A store to try things in, and what lies beside it, which must stay as it is.

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use barge::store::Store;
use tempfile::TempDir;

/// A directory with a store and with files that nobody may touch.
pub struct Arena {
    dir: TempDir,
    store: Store,
}

impl Arena {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        let dir = dir.expect("there is room for a directory");
        fs::write(dir.path().join("secret"), "untouched").expect("it can be written");
        let store = Store::open(&dir.path().join("root"), &dir.path().join("run"));
        Self { store: store.expect("the store can be made"), dir }
    }

    /// Panics if something beside the store has changed, or if something is left in it.
    fn check(&self) {
        let mut names: Vec<_> = fs::read_dir(self.dir.path())
            .expect("it is there")
            .map(|entry| entry.expect("it can be read").file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["root", "run", "secret"]);
        let secret = fs::read_to_string(self.dir.path().join("secret"));
        assert_eq!(secret.expect("it is there"), "untouched");
        let left = fs::read_dir(self.store.root().join("tmp")).expect("it is there").count();
        assert_eq!(left, 0, "a draft is left behind");
    }
}

/// Lets `work` use a store, and looks around afterwards.
pub fn within(work: impl FnOnce(&Store)) {
    thread_local! {
        static ARENA: RefCell<Option<Arena>> = const { RefCell::new(None) };
    }
    ARENA.with_borrow_mut(|arena| {
        let arena = arena.get_or_insert_with(Arena::new);
        work(&arena.store);
        arena.check();
    });
}
