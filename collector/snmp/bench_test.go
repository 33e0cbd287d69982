package snmp

import (
	"net"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"

	"kemi.dev/kemi/bus/event"
)

// cpu is the time that this process has computed, in the kernel too.
func cpu(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkStandardPoll measures the standard poll (2 scalars and 11 columns of 50 interfaces: 552 values) in CPU time of
// this process, beside gosnmp reading the same from the same agent and throwing it away.
func BenchmarkStandardPoll(b *testing.B) {
	address := otherProcess(b)
	report := func(b *testing.B, begun time.Duration) {
		b.ReportMetric(float64((cpu(b)-begun).Microseconds())/1000/float64(b.N), "cpu-ms/op")
		b.ReportAllocs()
	}
	b.Run("kemi", func(b *testing.B) {
		p := newPoller(b, "")
		j := job(address, "interfaces")
		p.Poll(b.Context(), j)
		begun := cpu(b)
		for b.Loop() {
			r := p.Poll(b.Context(), j)
			if r.Status != event.StatusOK || r.Values() != 552 {
				b.Fatalf("status %s with %d values: %s", r.Status, r.Values(), r.Message)
			}
			if _, err := r.Encode(); err != nil {
				b.Fatal(err)
			}
		}
		report(b, begun)
	})
	b.Run("gosnmp", func(b *testing.B) {
		host, port, _ := net.SplitHostPort(address)
		n, _ := strconv.Atoi(port)
		g := &gosnmp.GoSNMP{Target: host, Port: uint16(n), Version: gosnmp.Version2c, Community: "public", Timeout: time.Second, Retries: 1, MaxRepetitions: 25}
		if err := g.Connect(); err != nil {
			b.Fatal(err)
		}
		defer g.Conn.Close()
		plan := newPoller(b, "").profiles["interfaces"]
		begun := cpu(b)
		for b.Loop() {
			got, err := g.Get([]string{"1.3.6.1.2.1.1.3.0", "1.3.6.1.2.1.1.5.0"})
			if err != nil {
				b.Fatal(err)
			}
			values := len(got.Variables)
			for _, c := range plan.tables[0].columns {
				err := g.BulkWalk(c.oid.String(), func(gosnmp.SnmpPDU) error { values++; return nil })
				if err != nil {
					b.Fatal(err)
				}
			}
			if values != 552 {
				b.Fatalf("%d values", values)
			}
		}
		report(b, begun)
	})
}

// BenchmarkIdleTarget measures what the poller keeps of a target with 50 interfaces between polls.
func BenchmarkIdleTarget(b *testing.B) {
	address := otherProcess(b)
	p := newPoller(b, "")
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	p.Poll(b.Context(), job(address, "interfaces"))
	begun := heap()
	n := 0
	for b.Loop() {
		j := job(address, "interfaces")
		j.Target = strconv.Itoa(n)
		if r := p.Poll(b.Context(), j); r.Status != event.StatusOK {
			b.Fatal(r.Message)
		}
		n++
	}
	b.ReportMetric(float64(int64(heap()-begun))/float64(n), "B/target")
	runtime.KeepAlive(p)
}
