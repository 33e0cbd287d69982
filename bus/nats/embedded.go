package nats

// Embedded says that the servers run in this process, and only it reaches them.
func (d *Driver) Embedded() bool { return d.host != nil }
