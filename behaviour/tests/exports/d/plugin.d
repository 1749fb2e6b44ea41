/// Uses every interface and has every optional export, as ../cases expects.
module plugin;

import behaviour;

alias Outcome = Result!(Response, MethodError);
alias JobOutcome = Result!(void, JobError);

Outcome invoke(string name, Json payload)
{
    switch (name)
    {
    case "host":
        return Outcome(Response(200, some(quoted(host(payload)))));
    case "nothing":
        return Outcome(Response(204));
    case "invalid":
        return Outcome(MethodError.invalidPayload(payload));
    case "busy":
        return Outcome(MethodError.busy(some(7u)));
    case "failed":
        return Outcome(MethodError.failed(twin.report("[]").error.describe));
    case "other":
        return Outcome(MethodError.other(""));
    default:
        return Outcome(MethodError.unknownMethod);
    }
}

JobOutcome run(string name, Json payload)
{
    switch (name)
    {
    case "later":
        return JobOutcome(JobError.retry(some(5000u)));
    case "some-time":
        return JobOutcome(JobError.retry);
    case "never":
        return JobOutcome(JobError.reject(payload));
    case "odd":
        return JobOutcome(JobError.other("odd"));
    default:
        auto fields = text(jobs.bootOutcomeOfCurrent(), " ", context.attempt());
        log.write(log.Level.debug_, name, [payload, fields]);
        return JobOutcome.init;
    }
}

JobOutcome changed(Json patch, ulong version_)
{
    log.write(log.Level.info, patch, ["version", text(version_)]);
    return JobOutcome.init;
}

Result!(void, string) start(Option!string previousVersion)
{
    alias Started = typeof(return);
    return previousVersion.present ? Started(text("not after ", previousVersion.value)) : Started.init;
}

void stop()
{
    log.write(log.Level.warn, "stopped");
}

/// Returns one line about each answer of the host.
private string host(string payload)
{
    string lines;
    void line(Values...)(Values values)
    {
        foreach (i, value; values)
            lines = text(lines, i ? " " : "", value);
        lines = text(lines, "\n");
    }

    log.write(log.Level.error, "a", ["b", "c"], ["ü", ""]);
    line(context.pluginName(), context.deviceId(), context.callId(), context.remainingMs(), context.attempt());
    clock.sleepMs(1500);
    line(clock.nowRfc3339(), clock.nowMs());
    line(config.get("text").or("null"), config.get("missing").or("null"));
    foreach (entry; config.entries())
        line(text(entry[0], "=", entry[1]));
    line(twin.reportAndWait(`{"a":1}`, 1000).value);
    auto wanted = twin.desired().value, reported = twin.reported().value;
    line(wanted.body, wanted.version_, reported.body, reported.version_);
    telemetry.send(payload, "application/json", ["x", "y"]);
    state.set("k1", "one");
    state.set("k2", "");
    line(state.get("k1").value.or("null"), state.get("k2").value.or("null"), state.get("k3").value.or("null"));
    line(state.swap("k1", some("two"), none!string).value, state.swap("k1", some("one"), some("1")).value);
    line(state.swap("k3", none!string, some("three")).value, state.swap("k2", some(""), none!string).value);
    auto keys = state.keys("k", 9).value;
    line(keys[0], keys[1], keys.length);
    state.delete_("k1");
    auto job = jobs.afterDelay("first", "1", 2000).value;
    jobs.afterBoot("second", "2", 60_000);
    jobs.afterResponse("third", "3");
    line(job, jobs.cancel("none").value, jobs.cancel(job).value);
    line(power.requestReboot(10, "because").failed ? "failed" : "ok");
    line(power.requestReboot(10, "again").error.describe);
    metrics.add("opened", 2, ["door", "front"]);
    metrics.add("opened", 0.5, ["door", "front"]);
    metrics.set("heat", -1.5);
    metrics.setBounds("wait_seconds", 0.5, 1);
    metrics.observe("wait_seconds", 0.25);
    line(context.traceParent().or("null"));
    return lines;
}

/// Returns a JSON string.
private string quoted(string text)
{
    auto whole = allocate!char(2 + 2 * text.length);
    size_t end;
    whole[end++] = '"';
    foreach (c; text)
    {
        if (c == '"' || c == '\\' || c == '\n')
            whole[end++] = '\\';
        whole[end++] = c == '\n' ? 'n' : c;
    }
    whole[end++] = '"';
    return cast(string) whole[0 .. end];
}
