package simulate

import (
	"fmt"
	"net/netip"
	"strconv"
)

// Spec sizes a simulated site.
type Spec struct {
	Cores, Access, Ports   int // Ports per access switch; a core has 64
	Servers, VMs, Services int
	Listen                 Listen
	// HTTPPort is the TCP port of the services; 0 means Listen.Port.
	HTTPPort uint16
}

// corePorts is how many interfaces a core switch has.
const corePorts = 64

// DemoSpec is the site of `kemi demo`: 532 devices.
func DemoSpec(listen Listen) Spec {
	return Spec{Cores: 2, Access: 10, Ports: 48, Servers: 100, VMs: 400, Services: 20, Listen: listen}
}

// Devices is the number of devices Site will build.
func (s Spec) Devices() int { return s.Cores + s.Access + s.Servers + s.VMs + s.Services }

// Scale returns the spec with n devices in roughly the same mix. The mix keeps
// its cores as they are; every kind keeps at least one while n allows it, in
// the order cores, access switches, servers, VMs, services, so that no device
// is left without the one it needs.
func (s Spec) Scale(n int) Spec {
	total := s.Devices()
	if total == 0 || n == total {
		return s
	}
	out := s
	out.Cores = min(s.Cores, max(n, 0))
	counts := []*int{&out.Access, &out.Servers, &out.Services, &out.VMs}
	left := n - out.Cores
	weight := total - s.Cores
	for _, c := range counts {
		share := 0
		if *c > 0 && left > 0 && weight > 0 {
			share = max(1, (*c*left+weight/2)/weight)
			share = min(share, left)
		}
		weight -= *c
		left -= share
		*c = share
	}
	// What rounding left over goes to the biggest group that exists.
	if left > 0 {
		switch {
		case out.VMs > 0:
			out.VMs += left
		case out.Servers > 0:
			out.Servers += left
		default:
			out.Access += left
		}
	}
	if out.Services > 0 && out.VMs == 0 { // a service runs on a VM
		out.VMs, out.Services = out.Services, 0
	}
	return out
}

// Site lays out a data centre: access switches hang on their core (the first
// half of them on core-1, and so on), servers on access switches, VMs on
// servers, services on VMs.
func Site(s Spec) ([]Device, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	b := builder{listen: s.Listen, devices: make([]Device, 0, s.Devices())}
	httpPort := s.HTTPPort
	if httpPort == 0 {
		httpPort = s.Listen.Port
	}
	cores := b.add(s.Cores, Device{Class: Core, Ports: corePorts}, "core", 1, nil)
	access := b.add(s.Access, Device{Class: Switch, Ports: s.Ports, Relation: "connected_to"}, "access", 2, cores)
	servers := b.add(s.Servers, Device{Class: Server, Relation: "connected_to"}, "server", 3, access)
	vms := b.add(s.VMs, Device{Class: VM, Relation: "runs_on"}, "vm", 4, servers)
	service := Device{Class: Service, Relation: "runs_on", Addr: netip.AddrPortFrom(netip.Addr{}, httpPort)}
	b.add(s.Services, service, "service", 2, vms)
	return b.devices, b.err
}

func (s Spec) validate() error {
	for _, c := range []struct {
		name, needs string
		n, parents  int
	}{
		{"cores", "", s.Cores, 1},
		{"access switches", "core", s.Access, s.Cores},
		{"servers", "access switch", s.Servers, s.Access},
		{"VMs", "server", s.VMs, s.Servers},
		{"services", "VM", s.Services, s.VMs},
	} {
		if c.n < 0 {
			return fmt.Errorf("site has %d %s: use 0 or more", c.n, c.name)
		}
		if c.n > 0 && c.parents == 0 {
			return fmt.Errorf("site has %d %s but no %s to carry them: add at least one", c.n, c.name, c.needs)
		}
	}
	return s.Listen.validate()
}

// Uniform builds n devices of one class without relations, for
// `kemi simulate`. Their ids are class-1 … class-n, padded to equal width.
func Uniform(n int, class Class, ports int, listen Listen) ([]Device, error) {
	if _, err := ParseClass(string(class)); err != nil {
		return nil, err
	}
	if n < 1 {
		return nil, fmt.Errorf("fleet of %d devices: use at least 1", n)
	}
	if err := listen.validate(); err != nil {
		return nil, err
	}
	b := builder{listen: listen, devices: make([]Device, 0, min(n, 1<<16))}
	b.add(n, Device{Class: class, Ports: ports, Addr: netip.AddrPortFrom(netip.Addr{}, listen.Port)}, string(class), len(strconv.Itoa(n)), nil)
	return b.devices, b.err
}

type builder struct {
	listen  Listen
	devices []Device
	err     error
}

// add appends n devices made after model and spreads them evenly, in blocks,
// over parents. It returns their ids.
func (b *builder) add(n int, model Device, name string, width int, parents []string) []string {
	ids := make([]string, 0, n)
	port := b.listen.Port
	if model.Class == Service {
		port = model.Addr.Port()
	}
	for i := range n {
		addr, err := b.listen.address(len(b.devices))
		if err != nil {
			b.err = err
			return ids
		}
		d := model
		d.ID = fmt.Sprintf("%s-%0*d", name, width, i+1)
		d.Addr = netip.AddrPortFrom(addr, port)
		if len(parents) > 0 {
			d.Needs = []string{parents[i*len(parents)/n]}
		}
		ids = append(ids, d.ID)
		b.devices = append(b.devices, d)
	}
	return ids
}
