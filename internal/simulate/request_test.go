package simulate

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/gosnmp/gosnmp"
	"pgregory.net/rapid"
)

// FuzzAgent feeds packets to a device. Whatever it answers, gosnmp must be
// able to read it, it must belong to the request and must not be too long.
func FuzzAgent(f *testing.F) {
	d := newTestDevice(Device{ID: "srv", Class: Server}, epoch)
	for _, kind := range []gosnmp.PDUType{gosnmp.GetRequest, gosnmp.GetNextRequest, gosnmp.GetBulkRequest, gosnmp.SetRequest, gosnmp.GetResponse} {
		f.Add(encodeRequest(f, kind, 10, upTimeOID, ".1.3.6.1.2.1.2.2.1", ".1.3.6.1.2.1.99", ".2.999.4294967295"))
	}
	v1 := encodeRequest(f, gosnmp.GetNextRequest, 0, ".1.3.6.1.2.1.31.1.1.1.5.2")
	v1[4] = 0
	f.Add(v1)
	f.Add([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0x30, 0x80, 0, 0})
	a := agent{maxMessage: 484, community: "public"}
	f.Fuzz(func(t *testing.T, packet []byte) {
		before := bytes.Clone(packet)
		if len(packet) > maxRequest || !a.accept(packet) {
			return
		}
		reply := a.respond(nil, &d.device, d.state, d.now)
		if !bytes.Equal(before, packet) {
			t.Fatal("the request was changed")
		}
		if reply == nil {
			return
		}
		// An error echoes the request's values: whoever cannot read these need not read the answer.
		if _, err := (&gosnmp.GoSNMP{}).SnmpDecodePacket(packet); err != nil {
			return
		}
		// A v1 error echoes the request, whatever its size.
		p := decodeReply(t, reply)
		if p.Error == gosnmp.NoError && len(reply) > a.maxMessage {
			t.Errorf("the answer has %d octets", len(reply))
		}
		if int32(p.RequestID) != a.request.id || p.Community != "public" || p.PDUType != gosnmp.GetResponse {
			t.Errorf("the answer is %+v", p)
		}
	})
}

func TestDecodeReadsWhatGosnmpEncodes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		oid := rapid.SliceOfN(rapid.Uint32(), 0, 20).Draw(t, "oid")
		oid = append([]uint32{1, 3}, oid...)
		p := gosnmp.SnmpPacket{
			Version:        gosnmp.Version2c,
			Community:      rapid.StringN(0, 40, 200).Draw(t, "community"),
			PDUType:        rapid.SampledFrom([]gosnmp.PDUType{gosnmp.GetRequest, gosnmp.GetNextRequest, gosnmp.GetBulkRequest}).Draw(t, "kind"),
			RequestID:      uint32(rapid.Int32Range(0, math.MaxInt32).Draw(t, "id")),
			NonRepeaters:   rapid.Byte().Draw(t, "non-repeaters"),
			MaxRepetitions: uint32(rapid.Int32Range(0, math.MaxInt32).Draw(t, "repetitions")),
		}
		for range rapid.IntRange(1, 30).Draw(t, "names") {
			p.Variables = append(p.Variables, gosnmp.SnmpPDU{Name: dotted(oid), Type: gosnmp.Null})
		}
		b, err := p.MarshalMsg()
		if err != nil {
			t.Fatal(err)
		}
		var r request
		if err := r.decode(b); err != nil {
			t.Fatalf("% x: %v", b, err)
		}
		if r.id != int32(p.RequestID) || string(r.community) != p.Community || r.pdu != byte(p.PDUType) || len(r.names) != len(p.Variables) {
			t.Fatalf("decoded %+v", r)
		}
		if p.PDUType == gosnmp.GetBulkRequest && (r.nonRepeaters != int32(p.NonRepeaters) || r.maxRepetitions != int32(p.MaxRepetitions)) {
			t.Fatalf("decoded %+v", r)
		}
		arcs, ok := appendArcs(nil, r.names[0])
		if !ok || dotted(arcs) != dotted(oid) {
			t.Fatalf("OID %v is decoded as %v", oid, arcs)
		}
		if again := appendOID(nil, arcs); !bytes.Equal(again[2:], r.names[0]) {
			t.Fatalf("OID % x is encoded as % x", r.names[0], again)
		}
	})
}

func TestDecodeRefusesWhatIsNoRequest(t *testing.T) {
	t.Parallel()
	good := encodeRequest(t, gosnmp.GetBulkRequest, 10, upTimeOID)
	var r request
	if err := r.decode(good); err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if r.decode(good[:n]) == nil {
			t.Errorf("the first %d octets are accepted", n)
		}
	}
	if r.decode(append(bytes.Clone(good), 0)) == nil {
		t.Error("an octet too many is accepted")
	}
	for version, want := range map[byte]bool{0: false, 1: true, 2: false, 3: false} { // GetBulk is for v2c only
		b := bytes.Clone(good)
		b[4] = version
		if got := r.decode(b) == nil; got != want {
			t.Errorf("version %d accepted=%t", version, got)
		}
	}
}

func TestAppendArcsRefusesBrokenOIDs(t *testing.T) {
	t.Parallel()
	for name, content := range map[string][]byte{
		"empty":      {},
		"cut":        {0x2b, 0x86},
		"padded":     {0x2b, 0x80, 0x01},
		"too big":    {0x2b, 0x90, 0x80, 0x80, 0x80, 0x00},
		"way bigger": {0x2b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"too long":   bytes.Repeat([]byte{1}, 200),
	} {
		if arcs, ok := appendArcs(nil, content); ok {
			t.Errorf("%s: read as %v", name, arcs)
		}
	}
	if arcs, ok := appendArcs(nil, []byte{0x88, 0x37, 0x03}); !ok || dotted(arcs) != ".2.999.3" {
		t.Errorf("2.999.3 is read as %v", arcs)
	}
}

func TestIntegersAreEncodedAsGosnmpReadsThem(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		u, s := rapid.Uint64().Draw(t, "unsigned"), rapid.Int32().Draw(t, "signed")
		u >>= rapid.IntRange(0, 63).Draw(t, "shift")
		r := request{version: version2c, community: []byte("public")}
		at := headroom(r.community)
		b := make([]byte, at)
		for _, v := range [][]byte{appendUint(nil, tagCounter64, u), appendUint(nil, tagGauge32, uint64(uint32(u))), appendInt(nil, tagInteger, int64(s))} {
			start := len(b)
			b = append(b, tagSequence, 0)
			b = appendOID(b, []uint32{1, 3, 6})
			b = append(b, v...)
			b = fixLength(b, start)
		}
		p, err := (&gosnmp.GoSNMP{}).SnmpDecodePacket(finish(b, at, &r, 0, 0))
		if err != nil {
			t.Fatal(err)
		}
		if p.Variables[0].Value != u || p.Variables[1].Value != uint(uint32(u)) || p.Variables[2].Value != int(s) {
			t.Fatalf("%d, %d and %d are read as %v", u, uint32(u), s, p.Variables)
		}
	})
}

func TestLongBindingsGetLongLengths(t *testing.T) {
	t.Parallel()
	d := newTestDevice(Device{ID: strings.Repeat("x", maxID), Class: Server}, epoch)
	a := agent{maxMessage: 1472, community: "public"}
	long := "1.3.6.1.2.1.99" + strings.Repeat("."+strconv.FormatUint(math.MaxUint32, 10), 60) // over 255 octets
	middle := "1.3.6.1.2.1.99" + strings.Repeat("."+strconv.FormatUint(math.MaxUint32, 10), 28)
	p := decodeReply(t, d.ask(t, &a, gosnmp.GetRequest, 0, "."+long, "."+middle, ".1.3.6.1.2.1.1.1.0"))
	if p.Variables[0].Name != "."+long || p.Variables[1].Name != "."+middle || !strings.Contains(string(p.Variables[2].Value.([]byte)), d.ID) {
		t.Errorf("read as %v", p.Variables)
	}
}

func BenchmarkGetBulk(b *testing.B) {
	d := newTestDevice(Device{ID: "switch-01", Class: Switch, Ports: 48}, epoch)
	a := agent{maxMessage: 1472, community: "public"}
	buf := make([]byte, 2600)
	for name, oids := range map[string][]string{
		"octets":  {".1.3.6.1.2.1.31.1.1.1.6", ".1.3.6.1.2.1.31.1.1.1.10"},
		"columns": {".1.3.6.1.2.1.31.1.1.1.1", ".1.3.6.1.2.1.2.2.1.8", ".1.3.6.1.2.1.31.1.1.1.6", ".1.3.6.1.2.1.31.1.1.1.10", ".1.3.6.1.2.1.2.2.1.14"},
	} {
		b.Run(name, func(b *testing.B) {
			packet := encodeRequest(b, gosnmp.GetBulkRequest, 50, oids...)
			var reply []byte
			b.ReportAllocs()
			for b.Loop() {
				if !a.accept(packet) {
					b.Fatal("refused")
				}
				reply = a.respond(buf, &d.device, d.state, d.now)
			}
			b.ReportMetric(float64(len(decodeReply(b, reply).Variables)), "values/op")
		})
	}
}
