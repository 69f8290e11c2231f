//! What a process knows of the files that its configuration refers to.

use std::fs;

use shrike::config::{Keep, Lookup as _, Sources};

#[test]
fn a_file_that_changes_while_it_is_read_shows() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (there, later) = (dir.path().join("there"), dir.path().join("later"));
    fs::write(&there, "one").expect("the directory is ours");
    let sources = Sources::default();
    sources.begin(Keep::Nothing);
    assert_eq!(sources.file(&there).expect("it is there"), "one");
    drop(sources.file(&later).expect_err("it is not"));
    // Before anybody could look how the files are.
    fs::write(&there, "another").expect("the directory is ours");
    assert!(sources.have_changed() && !sources.have_changed(), "told once");
    fs::write(&later, "now").expect("the directory is ours");
    assert!(sources.have_changed() && !sources.have_changed(), "told once");
}

#[test]
fn a_file_that_no_configuration_names_any_more_is_forgotten() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("file");
    fs::write(&file, "one").expect("the directory is ours");
    let sources = Sources::default();
    sources.begin(Keep::Nothing);
    assert_eq!(sources.file(&file).expect("it is there"), "one");
    sources.end();
    fs::remove_file(&file).expect("the directory is ours");
    sources.begin(Keep::Last);
    assert_eq!(sources.file(&file).expect("its last content stays"), "one");
    sources.end();
    // The next configuration does not ask for it.
    sources.begin(Keep::Last);
    sources.end();
    assert!(!sources.have_changed());
    sources.begin(Keep::Last);
    drop(sources.file(&file).expect_err("nobody knows it"));
}
