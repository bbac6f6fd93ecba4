//! The story that a thread runs, so that a panic names it. The release profile aborts, and nothing else would name it.

use std::cell::RefCell;
use std::panic;

use crate::story::Story;

thread_local! {
    static CURRENT: RefCell<Option<Story>> = const { RefCell::new(None) };
}

/// Marks the story as the one that this thread runs, until it is dropped.
pub(crate) struct CurrentStory(Option<Story>);

impl CurrentStory {
    pub(crate) fn begin(story: &Story) -> CurrentStory {
        CurrentStory(CURRENT.replace(Some(story.clone())))
    }
}

impl Drop for CurrentStory {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// Makes a panic in a story print the command that replays this story, after the usual panic message.
pub fn name_stories_that_panic() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        usual(panic);
        CURRENT.with_borrow(|story| {
            if let Some(story) = story {
                eprintln!("{}: the panic was in this story:\n  {}", story.profile, story.replay());
            }
        });
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;

    #[test]
    fn current_story_is_the_innermost_one_that_runs() {
        let current = || CURRENT.with_borrow(|story| story.as_ref().map(Story::replay));
        let outer = CurrentStory::begin(&Story::of_seed(Profile::Kqueue, 1));
        let inner = CurrentStory::begin(&Story::of_seed(Profile::Epoll, 2));
        assert_eq!(current().as_deref(), Some("cargo xtask simulate --profile epoll --replay 2"));
        drop(inner);
        assert_eq!(current().as_deref(), Some("cargo xtask simulate --profile kqueue --replay 1"));
        drop(outer);
        assert_eq!(current(), None);
    }
}
