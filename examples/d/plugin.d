/// The simulated reboot of the tutorial: waits, reports the time and answers. It behaves
/// like guest-reboot, which is written in Rust.
module plugin;

import behaviour;
import json;
import settings;

alias Outcome = Result!(Response, MethodError);

Outcome invoke(string name, Json payload)
{
    if (name != "rebootDevice")
        return Outcome(MethodError.unknownMethod);
    string reason;
    auto settings = Settings.read(reason);
    if (reason.length)
        return Outcome(MethodError.failed(reason));
    double delay = settings.delaySeconds;
    auto requested = member(payload, "delaySeconds");
    if (requested.length && !seconds(requested, delay))
        return Outcome(MethodError.invalidPayload("delaySeconds: is not a number from 0 to 300"));

    info("Rebooting device");
    auto slept = clock.sleepMs(cast(uint)(delay * 1000));
    if (slept.failed)
        return failed("reboot", slept.error);
    info("Device rebooted");

    auto reported = twin.reportAndWait(settings.patch(clock.nowRfc3339()), 5000);
    if (!reported.failed)
        info("Device twins updated with latest rebootTime");
    else if (reported.error.kind == HostError.Kind.offline || reported.error.kind == HostError.Kind.timeout)
        info("Device twins will be updated when the hub answers again");
    else
        return failed("reported properties", reported.error);
    return Outcome(Response(200, some(`{"Response": "This is the response from the device"}`)));
}

private Outcome failed(string what, HostError error)
{
    return Outcome(MethodError.failed(text(what, ": ", error.describe)));
}

private void info(string message)
{
    log.write(log.Level.info, message);
}
