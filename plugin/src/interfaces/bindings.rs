//! Rust for the interfaces of `wit/`, written by wasmtime.
//!
//! One world for what every plugin has, and one for each interface that a plugin
//! may or may not have. All share the same types.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "behaviour",
    imports: {
        "device:behaviour/clock.sleep-ms": async,
        "device:behaviour/jobs.after-response": async,
        "device:behaviour/jobs.after-delay": async,
        "device:behaviour/jobs.after-boot": async,
        "device:behaviour/jobs.cancel": async,
        "device:behaviour/state.get": async,
        "device:behaviour/state.keys": async,
        "device:behaviour/state.set": async,
        "device:behaviour/state.delete": async,
        "device:behaviour/state.swap": async,
        "device:behaviour/telemetry.send": async,
        "device:behaviour/twin.report": async,
        "device:behaviour/twin.report-and-wait": async,
    },
    exports: { default: async },
});

/// The export that runs jobs.
pub(in crate::interfaces) mod deferred {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package plugin:deferred; world with-deferred { export device:behaviour/deferred@0.1.0; }",
        with: { "device:behaviour/types": super::device::behaviour::types },
        exports: { default: async },
    });
}

/// Bindings of the export for changes of the desired properties.
pub(in crate::interfaces) mod desired {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package plugin:desired; world with-desired { export device:behaviour/desired@0.1.0; }",
        with: { "device:behaviour/types": super::device::behaviour::types },
        exports: { default: async },
    });
}

/// Bindings of the export for the start and the stop of a version.
pub(in crate::interfaces) mod lifecycle {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package plugin:lifecycle; world with-lifecycle { export device:behaviour/lifecycle@0.1.0; }",
        exports: { default: async },
    });
}
