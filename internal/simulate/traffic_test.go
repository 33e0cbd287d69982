package simulate

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gosnmp/gosnmp"
	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// testDevice is one device without a fleet, in virtual time.
type testDevice struct {
	device
	state *state
	now   time.Time
}

func newTestDevice(d Device, boot time.Time) *testDevice {
	return &testDevice{device{d, shapeOf(d).tree(), deviceSeed(1, d.ID)}, &state{boot: boot}, boot.Add(time.Hour)}
}

// ask sends one request to the agent, encoded by gosnmp.
func (d *testDevice) ask(t testing.TB, a *agent, kind gosnmp.PDUType, repetitions uint32, oids ...string) []byte {
	t.Helper()
	if !a.accept(encodeRequest(t, kind, repetitions, oids...)) {
		t.Fatal("the agent does not accept gosnmp's request")
	}
	return a.respond(nil, &d.device, d.state, d.now)
}

func encodeRequest(t testing.TB, kind gosnmp.PDUType, repetitions uint32, oids ...string) []byte {
	t.Helper()
	p := gosnmp.SnmpPacket{Version: gosnmp.Version2c, Community: "public", PDUType: kind, RequestID: 4711, MaxRepetitions: repetitions}
	for _, oid := range oids {
		p.Variables = append(p.Variables, gosnmp.SnmpPDU{Name: oid, Type: gosnmp.Null})
	}
	b, err := p.MarshalMsg()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decodeReply(t testing.TB, reply []byte) *gosnmp.SnmpPacket {
	t.Helper()
	p, err := (&gosnmp.GoSNMP{}).SnmpDecodePacket(reply)
	if err != nil {
		t.Fatalf("gosnmp does not read % x: %v", reply, err)
	}
	return p
}

var counterFields = []field{
	ifInOctets, ifInUcastPkts, ifInDiscards, ifInErrors, ifOutOctets, ifOutUcastPkts, ifOutDiscards, ifOutErrors,
	ifInMulticastPkts, ifInBroadcastPkts, ifOutMulticastPkts, ifOutBroadcastPkts,
}

func anyDevice(t *rapid.T) *testDevice {
	return newTestDevice(Device{
		ID:    rapid.StringMatching(`[a-z]{1,8}`).Draw(t, "id"),
		Class: rapid.SampledFrom([]Class{Switch, Core, Server, VM}).Draw(t, "class"),
		Ports: 4,
	}, epoch.Add(-time.Duration(rapid.Int64Range(0, int64(400*24*time.Hour)).Draw(t, "age"))))
}

func TestCountersNeverDecreaseWhateverHappensToPorts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := anyDevice(t)
		port := int32(rapid.IntRange(1, d.interfaces()).Draw(t, "port"))
		now := epoch
		last := map[field]uint64{}
		for range 30 {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(2*time.Hour)).Draw(t, "step")))
			if rapid.IntRange(0, 3).Draw(t, "strike") == 0 {
				f := rapid.SampledFrom([]Fault{
					{Kind: PortDown, Port: int(port)},
					{Kind: PortUp, Port: int(port)},
					{Kind: PortFlap, Port: int(port), Duration: 7 * time.Second},
					{Kind: CounterWrap},
					{Kind: Clear},
				}).Draw(t, "fault")
				d.state = d.state.apply(f, now)
			}
			c := clockOf(&d.device, d.state, now)
			for _, f := range counterFields {
				v := c.counter(f, port)
				if v < last[f] {
					t.Fatalf("field %d of port %d fell from %d to %d at %s", f, port, last[f], v, now)
				}
				last[f] = v
			}
		}
	})
}

func TestCountersGrowAtRatesBelowTheInterfaceSpeed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := anyDevice(t)
		port := int32(rapid.IntRange(1, d.interfaces()).Draw(t, "port"))
		step := time.Duration(rapid.Int64Range(int64(time.Second), int64(time.Hour)).Draw(t, "step"))
		a, b := clockOf(&d.device, d.state, epoch), clockOf(&d.device, d.state, epoch.Add(step))
		for _, f := range []field{ifInOctets, ifOutOctets} {
			rate := float64(b.counter(f, port)-a.counter(f, port)) / step.Seconds()
			if limit := float64(a.speed(port)) / 8; rate <= 0 || rate > limit {
				t.Fatalf("port %d moves %g octets/s, its speed is %g", port, rate, limit)
			}
		}
	})
}

func TestAPortThatIsDownCountsNothingAndGoesOnWhenItIsUp(t *testing.T) {
	t.Parallel()
	d := newTestDevice(Device{ID: "sw", Class: Switch, Ports: 2}, epoch)
	at := func(minutes int) clock {
		return clockOf(&d.device, d.state, epoch.Add(time.Duration(minutes)*time.Minute))
	}
	d.state = d.state.apply(Fault{Kind: PortDown, Port: 1}, epoch.Add(10*time.Minute))
	c10, c20 := at(10), at(20)
	if got, want := c20.counter(ifInOctets, 1), c10.counter(ifInOctets, 1); got != want {
		t.Errorf("ten minutes down changed the counter from %d to %d", want, got)
	}
	if c20.counter(ifInOctets, 2) <= c10.counter(ifInOctets, 2) {
		t.Error("the other port stands still")
	}
	if down, since, _ := d.state.ports[1].at(c20.now); !down || since != epoch.Add(10*time.Minute) {
		t.Errorf("port is down=%t since %s", down, since)
	}
	d.state = d.state.apply(Fault{Kind: Clear}, epoch.Add(20*time.Minute))
	c20, c21 := at(20), at(21)
	if got, want := c20.counter(ifInOctets, 1), c10.counter(ifInOctets, 1); got != want {
		t.Errorf("coming up changed the counter from %d to %d", want, got)
	}
	if c21.counter(ifInOctets, 1) <= c20.counter(ifInOctets, 1) {
		t.Error("the port is up and counts nothing")
	}
	if _, since, _ := d.state.ports[1].at(c21.now); since != epoch.Add(20*time.Minute) {
		t.Errorf("ifLastChange is at %s", since)
	}
}

func TestCounterWrapLetsEvery32BitCounterWrapSoonAndNo64BitOneJump(t *testing.T) {
	t.Parallel()
	d := newTestDevice(Device{ID: "sw", Class: Switch, Ports: 2}, epoch)
	struck := epoch.Add(time.Hour)
	before := clockOf(&d.device, d.state, struck)
	d.state = d.state.apply(Fault{Kind: CounterWrap}, struck)
	after := clockOf(&d.device, d.state, struck)
	later := clockOf(&d.device, d.state, struck.Add(5*time.Minute))
	for _, f := range []field{ifInOctets, ifOutOctets, ifInUcastPkts} {
		if before.counter(f, 1) != after.counter(f, 1) {
			t.Errorf("field %d: the 64-bit counter jumped", f)
		}
		near, wrapped := after.counter32(f, 1), later.counter32(f, 1)
		if near < 1<<32-1<<31 || wrapped > near {
			t.Errorf("field %d stands at %d and five minutes later at %d: it should wrap between", f, near, wrapped)
		}
		// Modulo 2^32 both counters tell the same growth.
		grown := uint32(later.counter(f, 1) - after.counter(f, 1))
		if got := uint32(wrapped - near); got != grown {
			t.Errorf("field %d grew by %d in 32 bits and by %d in 64", f, got, grown)
		}
	}
}

func TestAfterCounterWrap32And64BitCountersTellTheSameGrowth(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := newTestDevice(Device{ID: "sw", Class: Switch, Ports: 2}, epoch)
		now := epoch.Add(time.Hour)
		wait := func() {
			now = now.Add(time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "wait")))
		}
		strike := func() {
			f := rapid.SampledFrom([]Fault{
				{Kind: PortDown, Port: 1}, {Kind: PortUp, Port: 1}, {Kind: PortFlap, Port: 1, Duration: time.Minute}, {Kind: Clear},
			}).Draw(t, "fault")
			d.state = d.state.apply(f, now)
		}
		strike()
		wait()
		strike()
		wait()
		d.state = d.state.apply(Fault{Kind: CounterWrap}, now)
		a := clockOf(&d.device, d.state, now)
		wide, narrow := a.counter(ifInOctets, 1), a.counter32(ifInOctets, 1)
		wait()
		strike()
		wait()
		b := clockOf(&d.device, d.state, now)
		if got, want := uint32(b.counter32(ifInOctets, 1)-narrow), uint32(b.counter(ifInOctets, 1)-wide); got != want {
			t.Fatalf("32 bits grew by %d, 64 bits by %d", got, want)
		}
		lead := (1<<32 - narrow) / uint64(a.rate(ifInOctets, 1))
		if lead > 2*wrapLead {
			t.Fatalf("the counter stands %d seconds before its wrap", lead)
		}
	})
}

func TestInterfacesDescribeThemselves(t *testing.T) {
	t.Parallel()
	const descr, speed = ".1.3.6.1.2.1.2.2.1.2.", ".1.3.6.1.2.1.2.2.1.5."
	const name, high, alias = ".1.3.6.1.2.1.31.1.1.1.1.", ".1.3.6.1.2.1.31.1.1.1.15.", ".1.3.6.1.2.1.31.1.1.1.18."
	for _, c := range []struct {
		d    Device
		want map[string]any
	}{
		{Device{ID: "access-01", Class: Switch, Ports: 3, Needs: []string{"core-1"}}, map[string]any{
			descr + "1": "GigabitEthernet0/1", name + "1": "Gi0/1", speed + "1": uint(1e9), high + "1": uint(1000), alias + "1": "port 1",
			descr + "3": "TenGigabitEthernet0/3", name + "3": "Te0/3", speed + "3": uint(1<<32 - 1), high + "3": uint(10000), alias + "3": "uplink to core-1",
		}},
		{Device{ID: "core-1", Class: Core, Ports: 2}, map[string]any{name + "1": "Te0/1", high + "2": uint(10000), alias + "2": "port 2"}},
		{Device{ID: "vm-1", Class: VM}, map[string]any{
			name + "1": "lo", name + "2": "eth0", high + "1": uint(10), high + "2": uint(1000),
			".1.3.6.1.2.1.25.2.3.1.3.31": "/", ".1.3.6.1.2.1.25.2.3.1.4.31": 4096, ".1.3.6.1.2.1.25.2.2.0": 4 << 20,
			".1.3.6.1.2.1.25.3.3.1.1.196609": ".0.0", ".1.3.6.1.2.1.1.2.0": ".1.3.6.1.4.1.8072.3.2.10",
		}},
	} {
		d := newTestDevice(c.d, epoch)
		a := agent{maxMessage: 1472, community: "public"}
		for oid, want := range c.want {
			got := decodeReply(t, d.ask(t, &a, gosnmp.GetRequest, 0, oid)).Variables[0].Value
			if b, ok := got.([]byte); ok {
				got = string(b)
			}
			if got != want {
				t.Errorf("%s: %s is %v (%T), want %v", d.ID, oid, got, got, want)
			}
		}
	}
}

func TestRebootRestartsUptimeAndCountersNearZero(t *testing.T) {
	t.Parallel()
	d := newTestDevice(Device{ID: "sw", Class: Switch, Ports: 2}, epoch)
	struck := epoch.Add(1000 * time.Hour)
	d.state = d.state.apply(Fault{Kind: PortDown, Port: 2}, struck.Add(-time.Hour))
	old := clockOf(&d.device, d.state, struck)
	d.state = d.state.apply(Fault{Kind: Reboot, Duration: 5 * time.Second}, struck)
	if d.state.answering(struck.Add(4 * time.Second)) {
		t.Error("it answers while it reboots")
	}
	if got := d.state.next(struck); got != struck.Add(5*time.Second) {
		t.Errorf("it comes back at %s", got)
	}
	back := clockOf(&d.device, d.state, struck.Add(6*time.Second))
	if !d.state.answering(back.now) {
		t.Error("it is silent after the reboot")
	}
	if got := back.ticks(); got != 600 {
		t.Errorf("sysUpTime is %d six seconds after the reboot", got)
	}
	if got, was := back.counter(ifInOctets, 1), old.counter(ifInOctets, 1); got == 0 || got > was/1000 {
		t.Errorf("the counter stood at %d and is %d after the reboot", was, got)
	}
	if down, _, _ := d.state.ports[2].at(back.now); !down || back.counter(ifInOctets, 2) != 0 {
		t.Error("the port that was down is up after the reboot")
	}
}

func TestValuesDependOnlyOnSeedBootFaultsAndTime(t *testing.T) {
	t.Parallel()
	read := func() *gosnmp.SnmpPacket {
		d := newTestDevice(Device{ID: "srv", Class: Server}, epoch)
		d.state = d.state.apply(Fault{Kind: CounterWrap}, epoch.Add(time.Minute))
		return decodeReply(t, d.ask(t, &agent{maxMessage: 60000, community: "public"}, gosnmp.GetBulkRequest, 1000, ".1.3"))
	}
	if diff := cmp.Diff(read().Variables, read().Variables); diff != "" {
		t.Error(diff)
	}
}

func TestHostLevelsStayWithinTheirBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := anyDevice(t)
		c := clockOf(&d.device, d.state, epoch.Add(time.Duration(rapid.Int64Range(0, int64(9000*time.Hour)).Draw(t, "time"))))
		for row := int32(rowMemory); row <= rowRoot; row++ {
			if used, size := c.storageUsed(row), c.storageSize(row); used < 0 || used > size {
				t.Fatalf("row %d uses %d of %d", row, used, size)
			}
		}
	})
}
