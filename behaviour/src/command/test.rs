//! The command `behaviour test`.

use std::borrow::Cow;
use std::io::stdout;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use behaviour::cases::{self, CaseFile, Difference, Verdict};
use behaviour::desk::{DeskError, Event, compile, engine, milliseconds, name};
use plugin::{Compiled, Engine, Limits};
use program::{Classify, Progress};
use serde_json::{Value, json};

use super::component::build_component;
use super::error::{CommandError, FailureKind};
use super::event_line::event_line;
use super::paint::Paint;
use super::print_line;
use super::values::bytes;

const LONG: &str = "\
Build a plugin and run its cases, each in a fresh sandbox and in virtual time.

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

Only `method` is required. Instead of it, `job` (a name), `changed` (a change of the desired properties) or `start` (the \
previous version, or null) call the optional exports. `steps` is a list of such calls, each with its own `expect`; \
`{\"after\": \"5s\"}` lets time pass and runs the due jobs, `{\"restart\": \"host\"}` restarts the host. The state before the call is set by `state` (keys and strings), `offline` \
and `run_jobs` (true or false), `capabilities` (names) and `limits` (`deadline_ms`, `memory_bytes`). Every key of `expect` is \
optional: `status`, `answer`, `error` and `message` (of a failed call), `reported` (all patches merged), `log` (a string is a \
message, an object has some of level, message and fields, \"...\" matches any lines), `took_ms`, `telemetry`, `state`, `jobs`, \
`ran`, `reboot`. In an expected value, \"$any\", \"$string\", \"$number\", \"$time\" and \"$id\" match any such value, and \"...\" \
matches the elements, or with `\"...\": \"$any\"` the members, that are not listed. An unknown key is an error.";

const EXAMPLES: &str = "\
Examples:
  behaviour test
  behaviour test guest-reboot --filter delay
  behaviour test --component reboot.wasm --cases cases
  behaviour test --json | jq '.cases[] | select(.ok | not)'

Exit codes:
  0  all cases passed
  1  a case failed
  2  there is no case to run, or the command line is wrong
  3  the component is missing or cannot be built, or a host would not load it";

/// Build a plugin and run its cases.
#[derive(clap::Args)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct Test {
    /// The plugin's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The folder of the cases [default: `cases` in the plugin's folder].
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Test this component instead of building one.
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Run only the cases whose names contain TEXT.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Print the outcome as one JSON object.
    #[arg(long)]
    json: bool,
}

/// The reason why no case ran.
#[derive(Debug, thiserror::Error)]
enum NoCases {
    #[error("cases in `{}`", dir.display())]
    Unreadable { dir: PathBuf, source: std::io::Error },
    #[error("no cases in `{}`", .0.display())]
    Empty(PathBuf),
    #[error("no case name contains `{0}`")]
    Filtered(String),
}

impl Classify<NoCases> for FailureKind {
    fn classify(_: &NoCases) -> FailureKind {
        FailureKind::Usage
    }

    fn hint(error: &NoCases) -> Option<String> {
        let example = r#"{"method": "NAME", "expect": {"status": 200}}"#;
        match error {
            NoCases::Unreadable { .. } | NoCases::Empty(_) => {
                Some(format!("write one as cases/NAME.json: {example}"))
            }
            NoCases::Filtered(_) => None,
        }
    }
}

impl Test {
    pub(super) fn run(self) -> Result<ExitCode, CommandError> {
        let run = self.run_once()?;
        if self.json {
            print_line(&run.to_json().to_string());
        }
        Ok(if run.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    pub(crate) fn new(
        dir: PathBuf,
        cases: Option<PathBuf>,
        component: Option<PathBuf>,
        filter: Option<String>,
    ) -> Test {
        Test { dir, cases, component, filter, json: false }
    }

    /// Builds the plugin and runs the cases once. Unless the output is JSON, prints each
    /// result as soon as it is known.
    pub(super) fn run_once(&self) -> Result<TestRun, CommandError> {
        let cases = self.cases()?;
        let component = match &self.component {
            Some(file) => Cow::Borrowed(file),
            None => Cow::Owned(build_component(&self.dir)?),
        };
        let limits = cases.iter().filter_map(|found| found.case.as_ref().ok()?.limits.memory_bytes);
        let limit = limits.max().unwrap_or(Limits::default().memory_bytes);
        let (engine, compiled) = compile_component(&component, limit)
            .map_err(|error| CommandError::from(error).with_kind(FailureKind::NotLoaded))?;
        let started = Instant::now();
        let mut run = TestRun { component: component.into_owned(), cases: Vec::new() };
        for found in cases {
            let result = CaseResult::new(found, &engine, &run.component, &compiled);
            if !self.json {
                result.print();
            }
            run.cases.push(result);
        }
        if !self.json {
            let (failed, paint) = (run.failed(), Paint::on(&stdout()));
            let counts = format!("{} ok, {failed} failed", run.cases.len() - failed);
            let counts = if failed == 0 { paint.success(&counts) } else { paint.failure(&counts) };
            print_line(&format!("{counts}, in {:.1} s", started.elapsed().as_secs_f64()));
        }
        Ok(run)
    }

    pub(crate) fn cases_dir(&self) -> PathBuf {
        self.cases.clone().unwrap_or_else(|| self.dir.join("cases"))
    }

    fn cases(&self) -> Result<Vec<CaseFile>, NoCases> {
        let dir = self.cases_dir();
        let mut cases = match cases::find(&dir) {
            Ok(cases) if cases.is_empty() => return Err(NoCases::Empty(dir)),
            Ok(cases) => cases,
            Err(source) => return Err(NoCases::Unreadable { dir, source }),
        };
        if let Some(filter) = &self.filter {
            cases.retain(|found| found.name.contains(filter.as_str()));
            if cases.is_empty() {
                return Err(NoCases::Filtered(filter.clone()));
            }
        }
        Ok(cases)
    }
}

/// Compiles a component for calls whose memory limit is at most `memory_bytes` or the
/// default, whichever is higher.
fn compile_component(file: &Path, memory_bytes: usize) -> Result<(Engine, Compiled), DeskError> {
    let engine = engine(memory_bytes).map_err(DeskError::Engine)?;
    let _progress = Progress::new(&format!("compiling {}", file.display()));
    let (_, compiled) = compile(&engine, file)?;
    Ok((engine, compiled))
}

/// The results of all cases.
pub(super) struct TestRun {
    component: PathBuf,
    cases: Vec<CaseResult>,
}

/// The result of one case. The error is a one-line message. It means that the case file is
/// invalid or that the component does not load with the settings of the case.
struct CaseResult {
    name: String,
    verdict: Result<Verdict, String>,
}

impl TestRun {
    fn failed(&self) -> usize {
        self.cases.iter().filter(|case| !case.is_ok()).count()
    }

    fn to_json(&self) -> Value {
        json!({
            "component": self.component.display().to_string(),
            "ok": self.cases.len() - self.failed(),
            "failed": self.failed(),
            "cases": self.cases.iter().map(CaseResult::to_json).collect::<Vec<_>>(),
        })
    }
}

impl CaseResult {
    fn new(found: CaseFile, engine: &Engine, component: &Path, compiled: &Compiled) -> CaseResult {
        let verdict = found.case.and_then(|case| case.run(engine, &name(component), compiled));
        CaseResult { name: found.name, verdict }
    }

    fn is_ok(&self) -> bool {
        self.verdict.as_ref().is_ok_and(Verdict::passed)
    }

    fn print(&self) {
        let paint = Paint::on(&stdout());
        let verdict = match &self.verdict {
            Ok(verdict) if self.is_ok() => {
                let memory = bytes(verdict.memory_bytes as u64);
                let took = format!("{:.3} s, {memory}", verdict.took().as_secs_f64());
                print_line(&format!(
                    "{}      {}  {}",
                    paint.success("ok"),
                    self.name,
                    paint.dim(&took)
                ));
                return;
            }
            other => other,
        };
        print_line(&format!("{}  {}", paint.failure("FAILED"), self.name));
        match verdict {
            Err(reason) => print_line(&format!("        {reason}")),
            Ok(verdict) => {
                for (index, step) in verdict.steps.iter().enumerate() {
                    let failed = !step.differences.is_empty();
                    if let (true, Some(count)) = (failed, verdict.step_count) {
                        let title = format!("step {} of {count} ({}):", index + 1, step.title);
                        print_line(&format!("        {}", paint.failure(&title)));
                    }
                    step.differences.iter().for_each(|it| print_difference(it, paint));
                }
                print_events(verdict, paint);
            }
        }
    }

    fn to_json(&self) -> Value {
        match &self.verdict {
            Err(reason) => json!({"name": self.name, "ok": false, "error": reason}),
            Ok(verdict) => {
                let mut case = json!({
                    "name": self.name,
                    "ok": verdict.passed(),
                    "differences": verdict.differences().collect::<Vec<_>>(),
                    "took_ms": milliseconds(verdict.took()),
                    "memory_bytes": verdict.memory_bytes,
                    "happened": events(verdict),
                });
                if let Some(count) = verdict.step_count {
                    let last = verdict.steps.last().filter(|_| !verdict.passed());
                    let failed =
                        last.map(|step| json!({"number": verdict.steps.len(), "name": step.title}));
                    case["steps"] = count.into();
                    case["failed_step"] = failed.into();
                }
                case
            }
        }
    }
}

/// Returns the events of all steps.
fn events(verdict: &Verdict) -> Vec<&Event> {
    verdict.steps.iter().flat_map(|step| &step.outcome.events).collect()
}

/// Prints the events of all steps. A line starts each step of a case with several steps.
fn print_events(verdict: &Verdict, paint: Paint) {
    if events(verdict).is_empty() {
        return;
    }
    print_line(&format!("        {}", paint.dim("events:")));
    for (index, step) in verdict.steps.iter().enumerate() {
        if verdict.step_count.is_some() {
            let title = format!("step {} ({})", index + 1, step.title);
            print_line(&format!("          {}", paint.dim(&title)));
        }
        for event in &step.outcome.events {
            print_line(&format!("        {}", event_line(event, paint)));
        }
    }
}

fn print_difference(difference: &Difference, paint: Paint) {
    for (index, line) in difference.to_string().lines().enumerate() {
        let indent = if index == 0 { 8 } else { 10 };
        print_line(&format!("{:indent$}{}", "", coloured(line, difference, index, paint)));
    }
}

/// Colours a line of a difference. Added and removed log lines are coloured as in a diff.
fn coloured(line: &str, difference: &Difference, index: usize, paint: Paint) -> String {
    match (difference, line.chars().next()) {
        (Difference::Log { .. }, Some('-')) if index > 0 => paint.failure(line),
        (Difference::Log { .. }, Some('+')) if index > 0 => paint.success(line),
        _ => line.to_owned(),
    }
}
