// Package simulate plays a fleet of network devices inside one process.
//
// In: a list of Devices with their topology, Faults (by call, script or
// HTTP), SNMP v1 and v2c requests and HTTP health checks on loopback
// addresses. Out: the answers real devices would give, or the silence.
// It promises that every answer comes from the address that was asked, that
// counters never decrease except by a reboot or a wrap, and that values are a
// pure function of seed, boot time, faults and time. It never answers outside
// of 127.0.0.0/8 and never runs a goroutine or a timer per SNMP device.
package simulate
