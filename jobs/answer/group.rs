//! A group is the requests of a batch whose answers are in memory at the same time.

use super::Asked;

/// Of whom more was found than this (sealed bytes), goes alone and piece by piece.
pub(super) const ALONE: i64 = 256 * 1024;
/// So much of what was found is in memory at the same time. What is made of it, sealed once more, is some times as much.
pub(super) const TOGETHER: i64 = 4 * 1024 * 1024;

/// What is made at the same time.
#[derive(Debug)]
pub(super) enum Group<T> {
    /// People of whom little was found.
    Together(Vec<T>),
    /// A person of whom much was found.
    Alone(T),
}

/// Cuts a batch into groups.
pub(super) fn grouped(all: Vec<Asked>) -> Vec<Group<Asked>> {
    cut(all, |asked| asked.of.artifact_bytes)
}

fn cut<T>(all: Vec<T>, bytes_of: impl Fn(&T) -> i64) -> Vec<Group<T>> {
    let (mut groups, mut alone) = (Vec::new(), Vec::new());
    let (mut together, mut sum) = (Vec::new(), 0);
    for one in all {
        let bytes = bytes_of(&one);
        if bytes > ALONE {
            alone.push(Group::Alone(one));
            continue;
        }
        if sum + bytes > TOGETHER {
            groups.push(Group::Together(std::mem::take(&mut together)));
            sum = 0;
        }
        sum += bytes;
        together.push(one);
    }
    if !together.is_empty() {
        groups.push(Group::Together(together));
    }
    // The many first: nobody waits for the one of whom much was found.
    groups.append(&mut alone);
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(groups: &[Group<i64>]) -> Vec<Vec<i64>> {
        groups
            .iter()
            .map(|group| match group {
                Group::Together(all) => all.clone(),
                Group::Alone(one) => vec![*one],
            })
            .collect()
    }

    #[test]
    fn a_batch_of_small_finds_is_one_group() {
        assert_eq!(sizes(&cut(vec![2_000; 300], |n| *n)), [vec![2_000; 300]]);
        assert!(cut(Vec::<i64>::new(), |n| *n).is_empty());
    }

    #[test]
    fn no_group_takes_more_memory_than_it_may_and_nobody_is_left_out() {
        let all: Vec<i64> = (0..300).map(|n| (n * 7_919) % (2 * ALONE)).chain([900_000_000]).collect();
        let groups = cut(all.clone(), |n| *n);
        for group in &groups {
            match group {
                Group::Together(own) => assert!(own.iter().sum::<i64>() <= TOGETHER && !own.is_empty()),
                Group::Alone(one) => assert!(*one > ALONE),
            }
        }
        let mut again: Vec<i64> = sizes(&groups).concat();
        let mut all = all;
        again.sort_unstable();
        all.sort_unstable();
        assert_eq!(again, all);
    }
}
