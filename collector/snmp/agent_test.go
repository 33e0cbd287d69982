package snmp

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gosnmp/gosnmp"
)

// object is one instance that a fake agent has.
type object struct {
	name  oid
	kind  gosnmp.Asn1BER
	value any
}

// agent is an SNMP agent with quirks. It reads and writes messages with gosnmp, so that our own encoder and decoder have
// a judge.
type agent struct {
	t    testing.TB
	conn *net.UDPConn

	mu      sync.Mutex
	objects []object
	// quirk may change an answer; it returns nil for silence.
	quirk func(asked, answer *gosnmp.SnmpPacket) *gosnmp.SnmpPacket
	// raw may change the octets of an answer.
	raw      func([]byte) []byte
	requests []*gosnmp.SnmpPacket
}

func newAgent(t testing.TB) *agent {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return serveAgent(t, conn)
}

func serveAgent(t testing.TB, conn *net.UDPConn) *agent {
	a := &agent{t: t, conn: conn}
	done := make(chan struct{})
	go func() { defer close(done); a.serve() }()
	t.Cleanup(func() { conn.Close(); <-done })
	return a
}

func (a *agent) address() string { return a.conn.LocalAddr().String() }

func mustOID(s string) oid {
	o, err := parseOID(s)
	if err != nil {
		panic(err)
	}
	return o
}

// put gives the agent an object.
func (a *agent) put(name string, kind gosnmp.Asn1BER, value any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	o := mustOID(name)
	at, there := slices.BinarySearchFunc(a.objects, o, func(x object, o oid) int { return compare(x.name, o) })
	if there {
		a.objects[at] = object{o, kind, value}
		return
	}
	a.objects = slices.Insert(a.objects, at, object{o, kind, value})
}

// drop takes away all objects at or under a name.
func (a *agent) drop(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	o := mustOID(strings.TrimSuffix(name, "."))
	a.objects = slices.DeleteFunc(a.objects, func(x object) bool {
		_, under := x.name.under(o)
		return under || compare(x.name, o) == 0
	})
}

// asked takes the requests since the last call.
func (a *agent) asked() []*gosnmp.SnmpPacket {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.requests
	a.requests = nil
	return r
}

// set changes the quirks.
func (a *agent) set(quirk func(asked, answer *gosnmp.SnmpPacket) *gosnmp.SnmpPacket, raw func([]byte) []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.quirk, a.raw = quirk, raw
}

func (a *agent) serve() {
	buf := make([]byte, 65535)
	for {
		n, from, err := a.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		g := &gosnmp.GoSNMP{Version: gosnmp.Version2c}
		asked, err := g.SnmpDecodePacket(slices.Clone(buf[:n]))
		if err != nil {
			a.t.Errorf("gosnmp cannot decode our request: %v", err)
			continue
		}
		if out := a.respond(asked); out != nil {
			_, _ = a.conn.WriteToUDPAddrPort(out, from)
		}
	}
}

func (a *agent) respond(asked *gosnmp.SnmpPacket) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests = append(a.requests, asked)
	if asked.Community != "public" {
		return nil
	}
	answer := &gosnmp.SnmpPacket{Version: asked.Version, Community: asked.Community, PDUType: gosnmp.GetResponse, RequestID: asked.RequestID}
	names := make([]oid, len(asked.Variables))
	for i, v := range asked.Variables {
		names[i] = mustOID(v.Name)
	}
	step := func(i int) {
		o := names[i]
		at, found := slices.BinarySearchFunc(a.objects, o, func(x object, o oid) int { return compare(x.name, o) })
		if found {
			at++
		}
		if at == len(a.objects) {
			answer.Variables = append(answer.Variables, gosnmp.SnmpPDU{Name: "." + o.String(), Type: gosnmp.EndOfMibView})
			return
		}
		x := a.objects[at]
		names[i] = x.name
		answer.Variables = append(answer.Variables, gosnmp.SnmpPDU{Name: "." + x.name.String(), Type: x.kind, Value: x.value})
	}
	single := min(int(asked.NonRepeaters), len(names))
	for i := range single {
		step(i)
	}
	for range asked.MaxRepetitions {
		for i := single; i < len(names); i++ {
			step(i)
		}
	}
	if a.quirk != nil {
		if answer = a.quirk(asked, answer); answer == nil {
			return nil
		}
	}
	out, err := answer.MarshalMsg()
	if err != nil {
		a.t.Errorf("gosnmp cannot encode the answer: %v", err)
		return nil
	}
	if a.raw != nil {
		out = a.raw(out)
	}
	return out
}

// Names of objects that tests use.
const (
	ifEntry  = "1.3.6.1.2.1.2.2.1."
	ifXEntry = "1.3.6.1.2.1.31.1.1.1."
)

// newSwitch is an agent with n interfaces.
func newSwitch(t testing.TB, n int) *agent {
	a := newAgent(t)
	a.put("1.3.6.1.2.1.1.3.0", gosnmp.TimeTicks, uint32(123456))
	a.put("1.3.6.1.2.1.1.5.0", gosnmp.OctetString, "sw")
	for i := 1; i <= n; i++ {
		a.addInterface(i)
	}
	return a
}

func (a *agent) addInterface(i int) {
	put := func(entry string, column int, kind gosnmp.Asn1BER, value any) {
		a.put(fmt.Sprintf("%s%d.%d", entry, column, i), kind, value)
	}
	put(ifEntry, 2, gosnmp.OctetString, fmt.Sprintf("Port %d", i))
	put(ifEntry, 7, gosnmp.Integer, 1)
	put(ifEntry, 8, gosnmp.Integer, 1+i%2)
	for _, c := range []int{13, 14, 19, 20} {
		put(ifEntry, c, gosnmp.Counter32, uint32(i*c))
	}
	put(ifXEntry, 1, gosnmp.OctetString, fmt.Sprintf("ge-%d", i))
	for _, c := range []int{6, 7, 10, 11} {
		put(ifXEntry, c, gosnmp.Counter64, uint64(i*c)<<33)
	}
	put(ifXEntry, 15, gosnmp.Gauge32, uint32(1000))
	put(ifXEntry, 18, gosnmp.OctetString, fmt.Sprintf("to rack %d", i))
}
