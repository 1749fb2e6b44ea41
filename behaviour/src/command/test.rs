//! `behaviour test`.

use std::borrow::Cow;
use std::io::stdout;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use behaviour::BuildError;
use behaviour::cases::{self, CaseFile, Difference, Verdict};
use behaviour::desk::{DeskError, compile, engine, milliseconds, name};
use plugin::{Compiled, Engine, Limits};
use program::Progress;
use serde_json::{Value, json};

use super::build::complain_of_build;
use super::call::line;
use super::component::built;
use super::paint::Paint;
use super::values::bytes;
use super::{NOT_LOADED, USAGE, say};

const LONG: &str = "\
Build a plugin and run the cases beside it, each in a fresh sandbox and in virtual time.

A case is a JSON file in the folder `cases`, and the file's stem is its name:

  {
    \"method\": \"rebootDevice\",
    \"payload\": {\"delaySeconds\": 5},
    \"config\": {\"property\": \"lastReboot\"},
    \"twin\": {\"desired\": {}, \"reported\": {}},
    \"expect\": {
      \"status\": 200,
      \"reported\": {\"lastReboot\": \"2026-01-01T00:00:05.000Z\"},
      \"log\": [\"Rebooting device\", \"...\"],
      \"took_ms\": 5000
    }
  }

Only `method` is needed; in its stead `job` (a name), `changed` (a change of the desired properties) or `start` (the version \
before, or null) call the optional exports. Before the call there may also be `state` (keys and texts), `offline` and `run_jobs` (true or false), \
`capabilities` (names) and `limits` (`deadline_ms`, `memory_bytes`). Of `expect` every key may be left out: `status`, `answer`, \
`error` and `message` (where there is no answer, in the host's words), `reported` (all patches in one), `log` (a text is a message, \
an object has some of level, message and fields, \"...\" stands for any lines), `took_ms`, `telemetry`, `state`, `jobs`, `reboot`. \
Another key is an error.";

const EXAMPLES: &str = "\
Examples:
  behaviour test
  behaviour test guest-reboot --filter delay
  behaviour test --component reboot.wasm --cases cases
  behaviour test --json | jq '.cases[] | select(.ok | not)'

Exit codes:
  0  all cases are ok
  1  some are not
  2  there is nothing to run, or the command line is wrong
  3  there is no component: it does not build, or is no plugin";

/// Build a plugin and run the cases beside it.
#[derive(clap::Args)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct Test {
    /// The plugin's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The folder of the cases [default: `cases` in the plugin's folder].
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Test this component, and build nothing.
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Run only cases with this in their names.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Print the outcome as one JSON object.
    #[arg(long)]
    json: bool,
}

/// The reason why no case ran.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TestError {
    #[error("cases in `{}`", dir.display())]
    Cases { dir: PathBuf, source: std::io::Error },
    #[error("no cases in `{}`", .0.display())]
    NoCases(PathBuf),
    #[error("no case has `{0}` in its name")]
    NoneNamed(String),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Load(#[from] DeskError),
}

impl TestError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            TestError::Build(_) | TestError::Load(_) => NOT_LOADED,
            _ => USAGE,
        })
    }

    pub(crate) fn complain(&self) {
        let hint = match self {
            TestError::Build(error) => return complain_of_build(error),
            TestError::Load(error) => error.hint(),
            TestError::Cases { .. } | TestError::NoCases(_) => Some(
                "write one as cases/NAME.json: {\"method\": \"NAME\", \"expect\": {\"status\": 200}}",
            ),
            TestError::NoneNamed(_) => None,
        };
        super::complain(self, hint);
    }
}

impl Test {
    pub(crate) fn run(self) -> ExitCode {
        match self.round() {
            Ok(round) => {
                if self.json {
                    say(&round.to_json().to_string());
                }
                if round.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            Err(error) => {
                error.complain();
                error.exit_code()
            }
        }
    }

    pub(crate) fn new(
        dir: PathBuf,
        cases: Option<PathBuf>,
        component: Option<PathBuf>,
        filter: Option<String>,
    ) -> Test {
        Test { dir, cases, component, filter, json: false }
    }

    /// Builds, and runs the cases once; says how each ended as it does.
    pub(crate) fn round(&self) -> Result<Round, TestError> {
        let cases = self.cases()?;
        let component = match &self.component {
            Some(file) => Cow::Borrowed(file),
            None => Cow::Owned(built(&self.dir)?),
        };
        let most = cases.iter().filter_map(|found| found.case.as_ref().ok()?.limits.memory_bytes);
        let engine = engine(most.max().unwrap_or(Limits::default().memory_bytes))
            .map_err(DeskError::Engine)?;
        let compiled = {
            let _progress = Progress::new(&format!("compiling {}", component.display()));
            compile(&engine, &component)?.1
        };
        let begun = Instant::now();
        let mut round = Round { component: component.into_owned(), cases: Vec::new() };
        for found in cases {
            let ran = Ran::new(found, &engine, &round.component, &compiled);
            if !self.json {
                ran.tell();
            }
            round.cases.push(ran);
        }
        if !self.json {
            let (failed, paint) = (round.failed(), Paint::on(&stdout()));
            let counts = format!("{} ok, {failed} failed", round.cases.len() - failed);
            let counts = if failed == 0 { paint.good(&counts) } else { paint.bad(&counts) };
            say(&format!("{counts}, in {:.1} s", begun.elapsed().as_secs_f64()));
        }
        Ok(round)
    }

    pub(crate) fn cases_dir(&self) -> PathBuf {
        self.cases.clone().unwrap_or_else(|| self.dir.join("cases"))
    }

    fn cases(&self) -> Result<Vec<CaseFile>, TestError> {
        let dir = self.cases_dir();
        let mut cases = match cases::find(&dir) {
            Ok(cases) if cases.is_empty() => return Err(TestError::NoCases(dir)),
            Ok(cases) => cases,
            Err(source) => return Err(TestError::Cases { dir, source }),
        };
        if let Some(filter) = &self.filter {
            cases.retain(|found| found.name.contains(filter.as_str()));
            if cases.is_empty() {
                return Err(TestError::NoneNamed(filter.clone()));
            }
        }
        Ok(cases)
    }
}

/// All cases, run.
pub(crate) struct Round {
    component: PathBuf,
    cases: Vec<Ran>,
}

/// One case, run. The error is one line: its file is wrong, or the component is
/// no plugin under its settings.
struct Ran {
    name: String,
    verdict: Result<Verdict, String>,
}

impl Round {
    fn failed(&self) -> usize {
        self.cases.iter().filter(|ran| !ran.is_ok()).count()
    }

    fn to_json(&self) -> Value {
        json!({
            "component": self.component.display().to_string(),
            "ok": self.cases.len() - self.failed(),
            "failed": self.failed(),
            "cases": self.cases.iter().map(Ran::to_json).collect::<Vec<_>>(),
        })
    }
}

impl Ran {
    fn new(found: CaseFile, engine: &Engine, component: &Path, compiled: &Compiled) -> Ran {
        let verdict = found.case.and_then(|case| case.run(engine, &name(component), compiled));
        Ran { name: found.name, verdict }
    }

    fn is_ok(&self) -> bool {
        self.verdict.as_ref().is_ok_and(|verdict| verdict.differences.is_empty())
    }

    fn tell(&self) {
        let paint = Paint::on(&stdout());
        let verdict = match &self.verdict {
            Ok(verdict) if self.is_ok() => {
                let memory = bytes(verdict.memory_bytes as u64);
                let took = format!("{:.3} s, {memory}", verdict.outcome.took.as_secs_f64());
                say(&format!("{}      {}  {}", paint.good("ok"), self.name, paint.dim(&took)));
                return;
            }
            other => other,
        };
        say(&format!("{}  {}", paint.bad("FAILED"), self.name));
        match verdict {
            Err(why) => say(&format!("        {why}")),
            Ok(verdict) => {
                for difference in &verdict.differences {
                    for (index, line) in difference.to_string().lines().enumerate() {
                        let indent = if index == 0 { 8 } else { 10 };
                        say(&format!("{:indent$}{}", "", painted(line, difference, index, paint)));
                    }
                }
                if !verdict.outcome.happened.is_empty() {
                    say(&format!("        {}", paint.dim("what happened:")));
                }
                for happened in &verdict.outcome.happened {
                    say(&format!("        {}", line(happened, paint)));
                }
            }
        }
    }

    fn to_json(&self) -> Value {
        match &self.verdict {
            Err(why) => json!({"name": self.name, "ok": false, "error": why}),
            Ok(Verdict { differences, outcome, memory_bytes }) => json!({
                "name": self.name,
                "ok": differences.is_empty(),
                "differences": differences,
                "took_ms": milliseconds(outcome.took),
                "memory_bytes": memory_bytes,
                "happened": outcome.happened,
            }),
        }
    }
}

/// The lines of a log in the colours of a diff.
fn painted(line: &str, difference: &Difference, index: usize, paint: Paint) -> String {
    match (difference, line.chars().next()) {
        (Difference::Log { .. }, Some('-')) if index > 0 => paint.bad(line),
        (Difference::Log { .. }, Some('+')) if index > 0 => paint.good(line),
        _ => line.to_owned(),
    }
}
