# Recipes for occasional tasks. `just` lists them; `.ci/tools` installs it.
# `.ci/run` runs all checks that a change must pass.

export PATH := justfile_directory() / "target/tools/bin" + ":" + env("PATH")

# List the recipes
default:
    @just --list --unsorted

# Run all checks that a change must pass: half an hour on two cores
ci:
    bash .ci/run

# Check format and lints
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Build the documentation site into target/book, and check its links
docs: tools
    mdbook build
    python3 .ci/links.py

# Serve the documentation site, and rebuild it after each change
docs-serve: tools
    mdbook serve --open

# Regenerate the tables of the reference pages and the page of the modules from the sources
docs-write:
    WRITE_DOCS=1 cargo test -p behaviour-host --test configuration_reference
    WRITE_DOCS=1 cargo test -p docs --test pages
    WRITE_DOCS=1 cargo test -p tests page_of_modules
    WRITE_DOCS=1 cargo test -p behaviour-host -p behaviour-service -p behaviour-hub -p behaviour --test command_line

# Write the manual pages of the programs to target/man
man:
    MAN_DIR="$PWD/target/man" cargo test --locked -p behaviour-host -p behaviour-service -p behaviour-hub -p behaviour --bins manual_page

# Build the documentation of the crates
api:
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --open

# Check the crates, their licences and their sources, as CI does
deny: tools
    cargo deny --offline check bans licenses sources

# Check the crates against the RustSec advisory database, which is fetched from GitHub
advisories: tools
    cargo deny check advisories

# Load a host for some minutes with a fault every 10 s, and observe its memory: `just soak --minutes 60`
soak *arguments="--minutes 10":
    cargo build --release -p behaviour-host
    cargo run --release -p tests --example soak -- {{ arguments }}

# Cause each fault that could make a device unreachable, and print a table; `--before FILE` compares with another host
walk-faults *arguments:
    cargo build --release -p behaviour-host
    cargo run --release -p tests --example walk-faults -- {{ arguments }}

# Run the fault matrix, and write its table in docs/reliability.md
matrix:
    WRITE_DOCS=1 cargo test -p tests matrix

# Kill the host at random moments, 1,000 times by default
kills count="1000":
    BEHAVIOUR_KILLS={{ count }} cargo test --release -p behaviour-host --test kill

# Run the end-to-end tests of the Node SDKs in a folder `e2etests` of azure-iot-sdk-node against the hub: ten minutes
node-suite folder:
    cargo build -p behaviour-hub
    unshare --map-root-user --net node tests/node_suite/run.js target/debug/behaviour-hub {{ folder }}

# Measure, and write tables and plots of docs/performance.md: `just bench devices sandbox`
bench *sections="all":
    cargo run --release -p bench -- {{ sections }}

# Redraw the plots in docs/plots, which come from the section `devices`
plots: (bench "devices")

# Let a host for `aarch64` or `armv7` reboot a device in an emulator, or run a command there: `just cross armv7 cargo build -p behaviour-host`
cross architecture *command:
    bash .ci/cross {{ architecture }} {{ command }}

# Measure hosts for three processors, with and without the compiler, and write a table of docs/performance.md: an hour
footprint *processors="":
    .ci/footprint {{ processors }}

# Fuzz one target for a minute: topics, connection_strings, sas, twins, rest, configs, frames, json, queries, bodies, packets, hosts, control, components, arguments, cache_files, bulk, faults, mqtt5, credentials
fuzz target seconds="60":
    cargo fuzz run {{ target }} --sanitizer none -- -max_total_time={{ seconds }}

# Run all fuzz targets on their corpora with other mutations than the default ones
fuzz-seed seed:
    FUZZ_SEED={{ seed }} cargo test -p tests fuzzing

# Build the Debian package of the host in target/packages, with its bill of materials and checksums
packages:
    bash .ci/packages

# Check the Debian packages in target/packages with lintian, in a Debian system below target/
packages-lint:
    bash .ci/packages-lint

# Build the container images of host and hub in target/images, with their bills of materials and checksums
images:
    bash .ci/images

# Check a release without building it
release-check version:
    bash .ci/release check {{ version }}

# Check, tag and build the archives of a release in target/release-VERSION
release version:
    bash .ci/release make {{ version }}

# Install mdbook, cargo-deny and just below target/
[private]
tools:
    @bash .ci/tools > /dev/null
