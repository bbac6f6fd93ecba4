//! The documentation and the suite list the same differences.

use super::differences;

#[test]
fn the_documentation_has_the_table_of_the_suite() {
    let documented = include_str!("../../differences.md");
    assert_eq!(documented, differences::as_markdown(), "differences.md must be:\n{}", differences::as_markdown());
}
