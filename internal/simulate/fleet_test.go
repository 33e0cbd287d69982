package simulate

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"
)

func TestFiftyDevicesOnOneSocketAnswerFromTheAddressThatWasAsked(t *testing.T) {
	t.Parallel()
	f := start(t, Config{Listen: testListen(t), Devices: uniform(t, 50, Switch, 2)})
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	waiting := map[netip.AddrPort]string{}
	for _, d := range f.Devices() {
		waiting[d.Addr] = d.ID
		if _, err := conn.WriteToUDPAddrPort(encodeRequest(t, gosnmp.GetRequest, 0, ".1.3.6.1.2.1.1.5.0"), d.Addr); err != nil {
			t.Fatal(err)
		}
	}
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 2000)
	for len(waiting) > 0 {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatalf("%v: %d devices have not answered", err, len(waiting))
		}
		name := string(decodeReply(t, buf[:n]).Variables[0].Value.([]byte))
		if waiting[from] != name {
			t.Errorf("%s answers from %s", name, from)
		}
		delete(waiting, from)
	}
}

func TestAddressesThatAreNoDeviceAreNotAnswered(t *testing.T) {
	t.Parallel()
	f := start(t, Config{Listen: testListen(t), Devices: uniform(t, 2, Switch, 2)})
	port := f.Devices()[0].Addr.Port()
	for _, addr := range []string{"127.77.0.9", "127.0.0.1", "127.78.0.1"} {
		if impatient(t, netip.AddrPortFrom(netip.MustParseAddr(addr), port)) == nil {
			t.Errorf("%s answers", addr)
		}
	}
	// A machine's own outer address never gets that far where the socket is tied
	// to lo, and is foreign where it is not.
	if s := f.Stats(); s.Foreign < 3 || s.Requests != 0 {
		t.Errorf("stats are %+v", s)
	}
}

func TestGarbageRequestsDoNotStopTheFleet(t *testing.T) {
	t.Parallel()
	f := start(t, Config{Listen: testListen(t), Devices: uniform(t, 1, Switch, 2)})
	addr := f.Devices()[0].Addr
	conn, err := net.Dial("udp4", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, p := range [][]byte{{}, {0x30}, []byte("hello"), make([]byte, 9000), encodeRequest(t, gosnmp.GetResponse, 0, upTimeOID)} {
		if _, err := conn.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := impatient(t, addr); err != nil {
		t.Error(err)
	}
	if s := f.Stats(); s.Refused != 5 || s.Answers != 1 {
		t.Errorf("stats are %+v", s)
	}
}

func TestDownIsSilentAndTakesAlongWhatIsReachedThroughIt(t *testing.T) {
	t.Parallel()
	spec := Spec{Cores: 2, Access: 2, Ports: 4, Servers: 2, VMs: 4, Services: 2, Listen: testListen(t)}
	devices, err := Site(spec)
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, Config{Listen: spec.Listen, Devices: devices})
	at := map[string]netip.AddrPort{}
	for _, d := range f.Devices() {
		at[d.ID] = d.Addr
	}
	check := func(when, id, state string) {
		t.Helper()
		if v, _ := f.View(id); v.State != state {
			t.Errorf("%s: %s is %s, want %s", when, id, v.State, state)
		}
		var err error
		if strings.HasPrefix(id, "service") {
			_, err = health(at[id])
		} else {
			err = impatient(t, at[id])
		}
		if (err == nil) != (state == "up") {
			t.Errorf("%s: %s is %s and asking it gives %v", when, id, state, err)
		}
	}
	check("at first", "vm-0001", "up")
	check("at first", "service-01", "up")
	if err := f.Fault("core-1", Fault{Kind: Down}); err != nil {
		t.Fatal(err)
	}
	check("core down", "core-1", "down")
	for _, id := range []string{"access-01", "server-001", "vm-0001", "vm-0002", "service-01"} {
		check("core down", id, "unreachable")
	}
	for _, id := range []string{"core-2", "access-02", "server-002", "vm-0003", "service-02"} {
		check("core down", id, "up")
	}
	if err := f.Fault("core-1", Fault{Kind: Clear}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"core-1", "access-01", "vm-0001", "service-01"} {
		check("core back", id, "up")
	}
}

// health asks a service on a connection of its own.
func health(addr netip.AddrPort) (string, error) {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 3 * time.Second}
	r, err := c.Get("http://" + addr.String() + "/health")
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return r.Status + " " + string(b), err
}

func TestServicesAnswerHealthAndShowTheirFaults(t *testing.T) {
	t.Parallel()
	f := start(t, Config{Listen: testListen(t), Devices: uniform(t, 1, Service, 0)})
	addr := f.Devices()[0].Addr
	expect := func(fault, want string) {
		t.Helper()
		strike(t, f, "service-1", fault)
		got, err := health(addr)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: the service says %q (%v), want %q", fault, got, err, want)
		}
	}
	const ok = `200 OK {"status":"ok"}`
	expect("clear", ok)
	expect("unhealthy", `503 Service Unavailable {"status":"error"}`)
	expect("up", ok)
	expect("down", "error")
	expect("up", ok)
	expect("garbage", "error")
	expect("up", ok)
	expect("truncated", "error")
	expect("up", ok)
	expect("lossy 100%", "error")
	expect("up", ok)
	begin := time.Now()
	expect("slow 200ms", ok)
	if took := time.Since(begin); took < 200*time.Millisecond {
		t.Errorf("a slow service answers after %s", took)
	}
}

func TestAnOpenConnectionToAServiceThatWentDownIsCut(t *testing.T) {
	t.Parallel()
	f := start(t, Config{Listen: testListen(t), Devices: uniform(t, 1, Service, 0)})
	var c http.Client // keeps its connection
	url := "http://" + f.Devices()[0].Addr.String() + "/health"
	get := func() error {
		r, err := c.Get(url)
		if err == nil {
			_, _ = io.Copy(io.Discard, r.Body)
			r.Body.Close()
		}
		return err
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	strike(t, f, "service-1", "down")
	if get() == nil {
		t.Error("a service that is down answers on an old connection")
	}
	strike(t, f, "service-1", "clear")
	if err := get(); err != nil {
		t.Error(err)
	}
}

func strike(t testing.TB, f *Fleet, id, fault string) {
	t.Helper()
	parsed, err := ParseFault(fault)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Fault(id, parsed); err != nil {
		t.Fatal(err)
	}
}

func TestSlowDelaysOneDeviceAndNobodyElse(t *testing.T) {
	t.Parallel()
	f := start(t, Config{Listen: testListen(t), Devices: uniform(t, 2, Switch, 2)})
	strike(t, f, "switch-1", "slow 300ms")
	slow, quick := f.Devices()[0].Addr, f.Devices()[1].Addr
	began := time.Now()
	done := make(chan error, 1)
	g := client(t, slow, gosnmp.Version2c)
	go func() {
		_, err := g.Get([]string{upTimeOID})
		done <- err
	}()
	eventually(t, "the slow device is asked", func() bool { v, _ := f.View("switch-1"); return v.Requests == 1 })
	if err := impatient(t, quick); err != nil {
		t.Errorf("the other device: %v", err)
	}
	if len(done) > 0 {
		t.Error("the slow device answers before the other one")
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < 300*time.Millisecond || took > 2*time.Second {
		t.Errorf("the slow device answers after %s", took)
	}
}

func TestRebootAndFlapComeBackByThemselves(t *testing.T) {
	t.Parallel()
	f := start(t, Config{Listen: testListen(t), Devices: uniform(t, 2, Switch, 2)})
	state := func(id string) string { v, _ := f.View(id); return v.State }
	addr := f.Devices()[0].Addr
	strike(t, f, "switch-1", "reboot 300ms")
	strike(t, f, "switch-2", "flap 200ms")
	if impatient(t, addr) == nil {
		t.Error("it answers while it reboots")
	}
	eventually(t, "the reboot is over", func() bool { return impatient(t, addr) == nil })
	p, err := client(t, addr, gosnmp.Version2c).Get([]string{upTimeOID})
	if err != nil || p.Variables[0].Value.(uint32) < 30 || p.Variables[0].Value.(uint32) > 1500 {
		t.Errorf("sysUpTime after the reboot: %v, %v", p, err)
	}
	for range 2 {
		eventually(t, "the flapping device is down", func() bool { return state("switch-2") == "down" && !f.byID["switch-2"].lit.Load() })
		eventually(t, "the flapping device is up", func() bool { return state("switch-2") == "up" && f.byID["switch-2"].lit.Load() })
	}
}

func TestLossyDropsItsShareAndTheSameOneForTheSameSeed(t *testing.T) {
	t.Parallel()
	lost := func(seed uint64) (n int, pattern string) {
		f, err := New(Config{Listen: testListen(t), Devices: uniform(t, 1, Switch, 2), Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		strike(t, f, "switch-1", "lossy 10%")
		a := agent{maxMessage: 1472, community: "public"}
		request := encodeRequest(t, gosnmp.GetRequest, 0, upTimeOID)
		for range 2000 {
			reply, _ := f.reply(&a, f.members[0], request, make([]byte, 2000), epoch)
			if reply == nil {
				n++
				pattern += "-"
			} else {
				pattern += "+"
			}
		}
		return n, pattern
	}
	n, first := lost(1)
	if n < 140 || n > 260 {
		t.Errorf("lossy 10%% lost %d of 2000", n)
	}
	if _, again := lost(1); again != first {
		t.Error("the same seed loses other packets")
	}
	if _, other := lost(2); other == first {
		t.Error("another seed loses the same packets")
	}
}

func TestMangledAnswersAreWhatTheyClaimToBe(t *testing.T) {
	t.Parallel()
	f := start(t, Config{Listen: testListen(t), Devices: uniform(t, 1, Switch, 2)})
	addr := f.Devices()[0].Addr
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request := encodeRequest(t, gosnmp.GetRequest, 0, upTimeOID)
	ask := func(fault string) ([]byte, netip.AddrPort) {
		t.Helper()
		strike(t, f, "switch-1", "clear")
		strike(t, f, "switch-1", fault)
		if _, err := conn.WriteToUDPAddrPort(request, addr); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		buf := make([]byte, 2000)
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatalf("%s: %v", fault, err)
		}
		return buf[:n], from
	}
	good, from := ask("clear")
	if p := decodeReply(t, good); p.RequestID != 4711 || from != addr {
		t.Errorf("the good answer has id %d and comes from %s", p.RequestID, from)
	}
	for range 20 {
		if b, _ := ask("truncated"); len(b) >= len(good) || string(b) != string(good[:len(b)]) && len(b) > len(good)-8 {
			t.Errorf("truncated: %d octets of %d", len(b), len(good))
		}
		if b, _ := ask("garbage"); len(b) < 1 || len(b) > 200 || string(b) == string(good) {
			t.Errorf("garbage: % x", b)
		}
		b, _ := ask("wrong-id")
		if p := decodeReply(t, b); p.RequestID == 4711 || len(p.Variables) != 1 {
			t.Errorf("wrong-id: the answer carries id %d", p.RequestID)
		}
		if b, from := ask("stranger"); from.Addr() == addr.Addr() || decodeReply(t, b).RequestID != 4711 {
			t.Errorf("stranger: the answer comes from %s", from)
		}
	}
}

func TestNewRefusesFleetsThatCannotWork(t *testing.T) {
	t.Parallel()
	listen, _ := ParseListen("127.9.0.0/24:0")
	dev := func(id, addr string, needs ...string) Device {
		return Device{ID: id, Class: Switch, Ports: 2, Addr: netip.MustParseAddrPort(addr), Needs: needs}
	}
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"no devices":      {Config{Listen: listen}, "no devices"},
		"outer address":   {Config{Listen: Listen{Prefix: netip.MustParsePrefix("10.0.0.0/8")}}, "not within 127.0.0.0/8"},
		"outside":         {Config{Listen: listen, Devices: []Device{dev("a", "127.8.0.1:0")}}, "outside of 127.9.0.0/24"},
		"twice":           {Config{Listen: listen, Devices: []Device{dev("a", "127.9.0.1:0"), dev("a", "127.9.0.2:0")}}, `"a" is used twice`},
		"same address":    {Config{Listen: listen, Devices: []Device{dev("a", "127.9.0.1:0"), dev("b", "127.9.0.1:0")}}, "devices a and b have the same address"},
		"other port":      {Config{Listen: listen, Devices: []Device{dev("a", "127.9.0.1:99")}}, "share one socket"},
		"no such need":    {Config{Listen: listen, Devices: []Device{dev("a", "127.9.0.1:0", "b")}}, `needs "b", which is not in the fleet`},
		"circle":          {Config{Listen: listen, Devices: []Device{dev("a", "127.9.0.1:0", "b"), dev("b", "127.9.0.2:0", "a")}}, "a -> b -> a"},
		"needs itself":    {Config{Listen: listen, Devices: []Device{dev("a", "127.9.0.1:0", "a")}}, "a -> a"},
		"class":           {Config{Listen: listen, Devices: []Device{{ID: "a", Class: "swich", Addr: netip.MustParseAddrPort("127.9.0.1:0")}}}, "unknown device class"},
		"no ports":        {Config{Listen: listen, Devices: []Device{{ID: "a", Class: Switch, Addr: netip.MustParseAddrPort("127.9.0.1:0")}}}, "0 ports"},
		"no id":           {Config{Listen: listen, Devices: []Device{dev("", "127.9.0.1:0")}}, "has no id"},
		"message size":    {Config{Listen: listen, Devices: []Device{dev("a", "127.9.0.1:0")}, MaxMessage: 100}, "use 484 to 65507"},
		"script's device": {Config{Listen: listen, Devices: []Device{dev("a", "127.9.0.1:0")}, Script: Script{{Device: "b", Fault: Fault{Kind: Down}}}}, `nothing matches "b"`},
		"script's port":   {Config{Listen: listen, Devices: []Device{dev("a", "127.9.0.1:0")}, Script: Script{{Device: "a", Fault: Fault{Kind: PortDown, Port: 3}}}}, "a has 2 ports"},
	} {
		if _, err := New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want it to say %q", name, err, c.want)
		}
	}
}

func TestRunTellsWhenItsPortIsTaken(t *testing.T) {
	t.Parallel()
	f := start(t, Config{Listen: testListen(t), Devices: uniform(t, 1, Switch, 2)})
	listen := testListen(t)
	listen.Port = f.Devices()[0].Addr.Port()
	devices, _ := Uniform(1, Switch, 2, listen)
	second, err := New(Config{Listen: listen, Devices: devices})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("Run: %v", err)
	}
	if err := second.Run(context.Background()); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("second Run: %v", err)
	}
}

func TestRunTellsWhenAServicePortIsTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.77.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := New(Config{Listen: testListen(t), Devices: []Device{
		{ID: "shop", Class: Service, Addr: netip.MustParseAddrPort(l.Addr().String())},
		{ID: "sw", Class: Switch, Ports: 2, Addr: netip.MustParseAddrPort("127.77.0.2:0")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "listen for service shop") {
		t.Errorf("Run: %v", err)
	}
}

func TestAServiceWhosePortWasTakenComesBackWhenItIsFree(t *testing.T) {
	t.Parallel()
	f := start(t, Config{Listen: testListen(t), Devices: uniform(t, 1, Service, 0)})
	addr := f.Devices()[0].Addr
	strike(t, f, "service-1", "down")
	l, err := net.Listen("tcp4", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Fault("service-1", Fault{Kind: Clear}); err == nil || !strings.Contains(err.Error(), "listen for service service-1") {
		t.Errorf("clear while the port is taken: %v", err)
	}
	l.Close()
	eventually(t, "the service is back", func() bool { _, err := health(addr); return err == nil })
}

func TestAFleetOfServicesAloneStopsPromptlyUnderOpenConnections(t *testing.T) {
	t.Parallel()
	f, err := New(Config{Listen: testListen(t), Devices: uniform(t, 3, Service, 0)})
	if err != nil {
		t.Fatal(err)
	}
	strike(t, f, "service-1", "slow 1h")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	<-f.Ready()
	hung := make(chan error, 1)
	go func() {
		_, err := (&http.Client{}).Get("http://" + f.Devices()[0].Addr.String() + "/health")
		hung <- err
	}()
	eventually(t, "the slow service is asked", func() bool { v, _ := f.View("service-1"); return v.Requests == 1 })
	cancel()
	for _, c := range []chan error{done, hung} {
		select {
		case err := <-c:
			if (err == nil) != (c == done) {
				t.Error(err)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("the fleet does not stop")
		}
	}
}

// BenchmarkFleet is a round trip to one of 500 devices over the shared socket,
// with 64 requests under way, the client's work included.
func BenchmarkFleet(b *testing.B) {
	f := start(b, Config{Listen: testListen(b), Devices: uniform(b, 500, Switch, 48)})
	devices := f.Devices()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	packet := encodeRequest(b, gosnmp.GetBulkRequest, 24, ".1.3.6.1.2.1.31.1.1.1.6", ".1.3.6.1.2.1.31.1.1.1.10")
	buf := make([]byte, 2000)
	sent := 0
	send := func() {
		if _, err := conn.WriteToUDPAddrPort(packet, devices[sent%len(devices)].Addr); err != nil {
			b.Fatal(err)
		}
		sent++
	}
	for range 64 {
		send()
	}
	b.ReportAllocs()
	for b.Loop() {
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, _, err := conn.ReadFromUDPAddrPort(buf); err != nil {
			b.Fatal(err)
		}
		send()
	}
}
