
# The author's procedures are in the stack of an exception, but not those of this module.
{.push stackTrace: off.}

proc nimMain() {.importc: "NimMain", cdecl.}

var started {.noinit.}: bool

proc start() =
  ## Runs the statements outside of procedures before the first call.
  if not started:
    started = true
    nimMain()

proc described(error: ref Exception): string =
  if error.name == "Failure": error.msg else: $error.name & ": " & error.msg

template outermost(body: untyped) =
  ## Ends the call with a trap if an exception is not handled.
  try:
    body
  except Exception as error:
    logged(error)
    trap()

proc logged(error: ref Exception) =
  var trace = error.getStackTrace()
  trace.setLen(max(0, trace.len - 1)) # without the end of the last line
  report(if trace == "": described(error) else: described(error) & "\n" & trace)
