package simulate

import (
	"fmt"
	"net/netip"
)

// Class says what kind of device is played.
type Class string

// The classes a fleet knows.
const (
	Switch  Class = "switch"  // system group, ifTable, ifXTable
	Core    Class = "core"    // a switch whose ports are all 10 Gbit/s
	Server  Class = "server"  // system group, two interfaces, HOST-RESOURCES, 8 processors
	VM      Class = "vm"      // as Server, smaller, 2 processors
	Service Class = "service" // HTTP: GET /health
)

// Classes lists every class, for help texts and completion.
func Classes() []Class { return []Class{Switch, Core, Server, VM, Service} }

// ParseClass reads a class by its name.
func ParseClass(s string) (Class, error) {
	for _, c := range Classes() {
		if string(c) == s {
			return c, nil
		}
	}
	return "", fmt.Errorf("unknown device class %q: use one of switch, core, server, vm, service", s)
}

// SNMP tells whether devices of the class are SNMP agents.
func (c Class) SNMP() bool { return c != Service }

// Device describes one simulated device.
type Device struct {
	ID    string
	Class Class
	// Addr is where the device answers: UDP for SNMP, TCP for a service. Port 0
	// means the fleet's port for SNMP and any free port for a service;
	// Fleet.Devices tells the real one once the fleet is ready.
	Addr netip.AddrPort
	// Ports is the number of interfaces of a switch or core; servers and VMs
	// always have two and services none.
	Ports int
	// Needs names the devices this one is reached through: all of them must be
	// up. AnyOf names alternatives of which one must be up.
	Needs []string
	AnyOf []string
	// Relation is how a CMDB would call Needs: "connected_to" or "runs_on".
	Relation string
}

// maxID bounds a device id, which is also its sysName (at most 255 octets by
// RFC 3418; shorter here so that it always fits a small message).
const maxID = 100

// maxPorts keeps one device's object tree below a few ten thousand objects.
const maxPorts = 1024

func (d Device) validate(listen Listen) error {
	switch {
	case d.ID == "":
		return fmt.Errorf("device at %s has no id: give each device one", d.Addr)
	case len(d.ID) > maxID:
		return fmt.Errorf("device id %.20q… has %d characters: use at most %d", d.ID, len(d.ID), maxID)
	case !d.Addr.Addr().Is4() || !listen.Prefix.Contains(d.Addr.Addr()):
		return fmt.Errorf("device %s: address %s is outside of %s: give it one inside", d.ID, d.Addr.Addr(), listen.Prefix)
	}
	if _, err := ParseClass(string(d.Class)); err != nil {
		return fmt.Errorf("device %s: %w", d.ID, err)
	}
	if d.Class.SNMP() && d.Addr.Port() != 0 && d.Addr.Port() != listen.Port {
		return fmt.Errorf("device %s: port %d differs from the fleet's port %d: all SNMP devices share one socket", d.ID, d.Addr.Port(), listen.Port)
	}
	if d.Class == Switch || d.Class == Core {
		if d.Ports < 1 || d.Ports > maxPorts {
			return fmt.Errorf("device %s: %d ports: use 1 to %d", d.ID, d.Ports, maxPorts)
		}
	}
	return nil
}

// interfaces is the number of rows in the device's interface tables.
func (d Device) interfaces() int {
	switch d.Class {
	case Switch, Core:
		return d.Ports
	case Server, VM:
		return 2
	}
	return 0
}
