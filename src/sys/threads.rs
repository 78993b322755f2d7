//! Work on many things in several threads.

use std::thread;

/// So many things are worth more than one thread.
const MANY: usize = 50;

/// More threads than that only wait for memory.
const MOST: usize = 8;

/// Calls a function for each of the things, in several threads if they are many; results are in order.
pub fn map<T: Sync, R: Send>(things: &[T], function: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let work = |part: &[T]| -> Vec<R> { part.iter().map(&function).collect() };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST);
    if things.len() < MANY || threads == 1 {
        return work(things);
    }
    let work = &work;
    let mut parts = things.chunks(things.len().div_ceil(threads));
    // The first part is done here.
    let first = parts.next().unwrap_or_default();
    thread::scope(|scope| {
        let begun: Vec<_> = parts.map(|part| (part, scope.spawn(move || work(part)))).collect();
        let mut results = work(first);
        for (part, thread) in begun {
            // A thread that panicked has done nothing: then it is done here.
            results.extend(thread.join().unwrap_or_else(|_| work(part)));
        }
        results
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_things() {
        for count in [0, 1, MANY - 1, MANY, MANY + 1, 1000] {
            let things: Vec<usize> = (0..count).collect();
            let want: Vec<usize> = things.iter().map(|thing| thing * 3).collect();
            assert_eq!(map(&things, |thing| thing * 3), want);
        }
    }
}
