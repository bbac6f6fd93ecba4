//! Which story a thread is telling, so that a panic names it: the release profile aborts, and nothing else would.

use std::cell::RefCell;
use std::panic;

use crate::run::Story;

thread_local! {
    static CURRENT: RefCell<Option<Story>> = const { RefCell::new(None) };
}

/// While this lives, its thread tells the story.
pub(crate) struct Telling(Option<Story>);

impl Telling {
    pub(crate) fn begin(story: &Story) -> Telling {
        Telling(CURRENT.replace(Some(story.clone())))
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// Has a panic in a story print the command that tells this story again, after what the panic prints by itself.
pub fn name_stories_that_panic() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        usual(panic);
        CURRENT.with_borrow(|story| {
            if let Some(story) = story {
                eprintln!("{}: it panicked in this story:\n  {}", story.profile, story.replay());
            }
        });
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;

    #[test]
    fn a_story_is_the_current_one_until_it_has_been_told() {
        let current = || CURRENT.with_borrow(|story| story.as_ref().map(Story::replay));
        let outer = Telling::begin(&Story::of_seed(Profile::Kqueue, 1));
        let inner = Telling::begin(&Story::of_seed(Profile::Epoll, 2));
        assert_eq!(current().as_deref(), Some("cargo xtask simulate --profile epoll --replay 2"));
        drop(inner);
        assert_eq!(current().as_deref(), Some("cargo xtask simulate --profile kqueue --replay 1"));
        drop(outer);
        assert_eq!(current(), None);
    }
}
