module device.plugin

go 1.24
