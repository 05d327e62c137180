//! The command `pipe` from the outside: each test runs the program in a project of its own and compares all that it says.
//!
//! One module for each command or promise; a new test goes into the one that it is about.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]
#![expect(clippy::disallowed_methods, reason = "tests make and read their own files")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

/// A running build that is asked how far it is.
mod asked;
mod harness;

/// `pipe check`, and everything that the Pipelinefile can be told to be wrong about.
mod accept;
/// What failed by cause: named, tried again, and who waits for it.
mod causes;
mod check;
/// `pipe` and its flags, wherever they hold for every command.
mod cli;
/// Code that is edited: of a module, of a helper, of a file that it names; and targets that come, go, change names.
mod code;
/// `pipe conform`, and modules in other languages.
mod conform;
/// Modules in containers.
mod containers;
/// A document that brings its module down.
mod culprits;
/// Bytes of the store that changed behind our back.
mod damage;
/// Documents that go, and all that came of them, in every shape.
mod deletion;
/// Disks that are full or only to be read.
mod disk;
/// `pipe doctor`.
mod doctor;
/// Documents that are edited, copied, renamed, removed: what runs again, and what does not.
mod edits;
/// Packages that modules state.
mod environments;
/// `pipe export`.
mod export;
/// Passing faults and the breaker.
mod faults;
/// Folders as results.
mod folders;
/// `--max-recompute`.
mod gate;
/// `pipe gc`.
mod gc;
/// Documents that are gone.
mod gone;
/// `pipe graph`.
mod graph;
/// `group`: by value, by parent, by what another target says.
mod groups;
/// `hold`: paid or slow work is not redone unasked.
mod hold;
/// Ids, and unions of streams.
mod ids;
/// `pipe init`.
mod init;
/// Modules that are installed, and the environment at hand.
mod installed;
/// Versions of packages, wherever they are.
mod installed_packages;
/// What is in a key beside the code: params, side files, variables, versions, what a module sees.
mod junit;
mod keys;
/// `kill -9` at random moments.
mod kills;
mod kin;
/// The hashes of a set's leaves that are kept.
mod leaves;
/// Pauses, memory, money, and how many may fail.
mod limits;
/// Listings of what is published.
mod listing;
/// `with … on`: documents by value.
mod matching;
/// `meta`: where it comes from, what it decides, what sees it.
mod meta;
/// `pipe modules`.
mod modules;
mod networks;
/// `pipe new-module`.
mod new_module;
/// A build with nothing to do.
mod noop;
/// Modules and results in a notebook.
mod notebook;
/// Files that are no ordinary ones.
mod odd_files;
/// Builds of a part: named targets, `--docs`, `--sample`, `-n`.
mod partial;
/// What modules print.
mod prints;
/// Sources that are targets of another project.
mod projects;
/// Results as files: where they are, when they go.
mod publishing;
/// `pipe status`, `why`, `log`, `ls`, `cat`.
mod query;
/// `pipe redo`: what is done again, once, and where it ends.
mod redo;
/// `reduce`: a tree of merges.
mod reduce;
/// `pipe publish`.
mod repair;
/// `pipe repro`.
mod repro;
/// `pipe ls --sample`, `--open`.
mod review;
/// `route`: which module takes a document.
mod routes;
/// Sources of rows.
mod rows;
/// `pipe test`.
mod samples;
/// The folder in which a filter writes.
mod scratch;
/// Modules on servers.
mod serve;
/// `all`: members, coverage, what stands behind a set.
mod sets;
/// Batches, documents side by side, rates, cards, secrets.
mod several;
/// All shapes at once, against an oracle.
mod shapes;
mod shared_shapes;
/// The shared cache: `PIPE_CACHE`.
mod sharing;
/// Published files and people.
mod shown;
/// `with`: documents by id, shared results, what is missing.
mod side_inputs;
/// Events in log systems, and people who are told.
mod sinks;
/// Very small, very large, very many, very deep.
mod sizes;
/// `split`: children as documents of their own.
mod split;
/// Modules that cannot start.
mod starting;
/// Ctrl-C, SIGTERM, a second `pipe`.
mod stops;
/// The whole story of a document and of a run: `pipe log`, `pipe report`.
mod story;
/// Modules that do everything wrong.
mod torture;
/// `pipe try`.
mod trial;
mod try_sample;
/// Names that could be taken for code.
mod watch;
mod words;
