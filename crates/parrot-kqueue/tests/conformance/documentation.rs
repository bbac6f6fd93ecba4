//! The documentation and the suite tell of the same differences.

use super::differences;

#[test]
fn the_table_in_the_documentation_is_the_one_the_suite_asks() {
    let documented = include_str!("../../differences.md");
    assert_eq!(documented, differences::as_markdown(), "differences.md is to be this:\n{}", differences::as_markdown());
}
