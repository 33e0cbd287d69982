package snmp

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gosnmp/gosnmp"
	"pgregory.net/rapid"
)

// drawOID draws an object identifier as dotted numbers.
func drawOID(t *rapid.T) string {
	arcs := rapid.SliceOfN(rapid.OneOf(rapid.Uint32Range(0, 300), rapid.Uint32()), 1, 20).Draw(t, "arcs")
	s := "1.3"
	for _, a := range arcs {
		s += fmt.Sprintf(".%d", a)
	}
	return s
}

func TestObjectIdentifiersSurviveAndOrderByArcs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawOID(t), drawOID(t)
		oa, ob := mustOID(a), mustOID(b)
		if oa.String() != a || !oa.valid() {
			t.Fatalf("%s became %s", a, oa)
		}
		if got, want := sign(compare(oa, ob)), slices.Compare(arcsOf(a), arcsOf(b)); got != want {
			t.Fatalf("compare %s with %s is %d, want %d", a, b, got, want)
		}
		index, under := mustOID(a + ".7.70000").under(oa)
		if !under || string(appendDotted(nil, index)) != "7.70000" || !index.validIndex() {
			t.Fatalf("index of a row below %s is %s", a, appendDotted(nil, index))
		}
	})
}

func sign(n int) int { return max(-1, min(1, n)) }

func arcsOf(s string) (arcs []uint64) {
	for _, p := range strings.Split(s, ".") {
		var v uint64
		fmt.Sscan(p, &v)
		arcs = append(arcs, v)
	}
	return arcs
}

func TestBadObjectIdentifiersAreRefused(t *testing.T) {
	for _, s := range []string{"", "1", "1.", "1..3", "1.40", "3.1", "1.3.4294967296", "1.3.-1", "one.3", "1.3" + strings.Repeat(".1", 127)} {
		if o, err := parseOID(s); err == nil {
			t.Errorf("%q became %s", s, o)
		}
	}
}

// Our requests are, octet for octet, those of gosnmp.
func TestRequestsAreThoseOfGosnmp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := request{
			id: rapid.Int32Range(1, math.MaxInt32).Draw(t, "id"), community: rapid.StringN(1, 60, 120).Draw(t, "community"),
			repetitions: rapid.IntRange(0, 100).Draw(t, "repetitions"),
		}
		want := gosnmp.SnmpPacket{Version: gosnmp.Version2c, Community: r.community, PDUType: gosnmp.GetBulkRequest, RequestID: uint32(r.id), MaxRepetitions: uint32(r.repetitions)}
		for range rapid.IntRange(1, 60).Draw(t, "names") {
			name := drawOID(t)
			r.names = append(r.names, mustOID(name))
			want.Variables = append(want.Variables, gosnmp.SnmpPDU{Name: "." + name, Type: gosnmp.Null})
		}
		r.scalars = rapid.IntRange(0, len(r.names)).Draw(t, "scalars")
		want.NonRepeaters = uint8(r.scalars)
		expected, err := want.MarshalMsg()
		if err != nil {
			t.Fatal(err)
		}
		scratch := make([]byte, 16)
		if got := r.encode(&scratch); !slices.Equal(got, expected) {
			t.Fatalf("got  %x\nwant %x", got, expected)
		}
	})
}

// seen is a decoded binding as both decoders can say it.
type seen struct{ name, value string }

func ours(b *binding) seen {
	s := seen{name: "." + b.name.String()}
	switch {
	case b.isException():
		s.value = fmt.Sprintf("nothing %x", b.tag)
	case b.tag == tagOctets:
		s.value = fmt.Sprintf("text %x", b.value)
	case b.tag == tagInteger:
		n, ok := signed(b.value)
		s.value = fmt.Sprint("number ", n, ok)
	case b.tag == tagCounter64:
		n, ok := unsigned(b.value)
		s.value = fmt.Sprint("number ", n, ok)
	case b.tag == tagCounter32 || b.tag == tagGauge32 || b.tag == tagTimeTicks || b.tag == tagUinteger32:
		n, ok := unsigned32(b.value)
		s.value = fmt.Sprint("number ", n, ok)
	case b.tag == tagOID:
		s.value = "oid ." + oid(b.value).String()
	}
	return s
}

func theirs(v gosnmp.SnmpPDU) seen {
	s := seen{name: v.Name}
	switch v.Type {
	case gosnmp.NoSuchObject, gosnmp.NoSuchInstance, gosnmp.EndOfMibView, gosnmp.Null:
		s.value = fmt.Sprintf("nothing %x", byte(v.Type))
	case gosnmp.OctetString:
		s.value = fmt.Sprintf("text %x", v.Value)
	case gosnmp.Integer, gosnmp.Counter32, gosnmp.Gauge32, gosnmp.TimeTicks, gosnmp.Counter64, gosnmp.Uinteger32:
		s.value = fmt.Sprint("number ", gosnmp.ToBigInt(v.Value), true)
	case gosnmp.ObjectIdentifier:
		s.value = fmt.Sprint("oid ", v.Value)
	}
	return s
}

// drawAnswer draws a response as gosnmp writes it.
func drawAnswer(t *rapid.T) (gosnmp.SnmpPacket, []byte) {
	p := gosnmp.SnmpPacket{
		Version: gosnmp.Version2c, Community: rapid.StringN(0, 30, 60).Draw(t, "community"), PDUType: gosnmp.GetResponse,
		RequestID: rapid.Uint32Range(1, math.MaxInt32).Draw(t, "id"), Error: gosnmp.SNMPError(rapid.IntRange(0, 18).Draw(t, "error")),
		ErrorIndex: uint8(rapid.IntRange(0, 100).Draw(t, "index")),
	}
	for range rapid.IntRange(0, 30).Draw(t, "bindings") {
		v := gosnmp.SnmpPDU{Name: "." + drawOID(t)}
		switch rapid.IntRange(0, 7).Draw(t, "kind") {
		case 0:
			v.Type, v.Value = gosnmp.Integer, int(rapid.Int32().Draw(t, "integer"))
		case 1:
			v.Type, v.Value = gosnmp.OctetString, rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "octets")
		case 2:
			v.Type, v.Value = gosnmp.Counter32, rapid.Uint32().Draw(t, "counter")
		case 3:
			v.Type, v.Value = gosnmp.Gauge32, rapid.Uint32().Draw(t, "gauge")
		case 4:
			v.Type, v.Value = gosnmp.TimeTicks, rapid.Uint32().Draw(t, "ticks")
		case 5:
			v.Type, v.Value = gosnmp.Counter64, rapid.Uint64().Draw(t, "wide")
		case 6:
			v.Type, v.Value = gosnmp.ObjectIdentifier, "."+drawOID(t)
		default:
			v.Type = gosnmp.NoSuchInstance
		}
		p.Variables = append(p.Variables, v)
	}
	data, err := p.MarshalMsg()
	if err != nil {
		t.Fatal(err)
	}
	return p, data
}

func bindingsOf(a answer) (all []seen, err error) {
	for list := a.bindings; len(list) > 0; {
		b, rest, err := next(list)
		if err != nil {
			return nil, err
		}
		all, list = append(all, ours(&b)), rest
	}
	return all, nil
}

func TestAnswersAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, data := drawAnswer(t)
		a, err := decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if id, ok := requestID(data); !ok || id != a.id || uint32(id) != p.RequestID {
			t.Fatalf("request id %d, %d, want %d", id, a.id, p.RequestID)
		}
		if a.status != int32(p.Error) || a.index != int32(p.ErrorIndex) || string(a.community) != p.Community {
			t.Fatalf("got %+v", a)
		}
		got, err := bindingsOf(a)
		if err != nil {
			t.Fatal(err)
		}
		var want []seen
		for _, v := range p.Variables {
			want = append(want, theirs(v))
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(seen{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

// What we take from an answer is what gosnmp takes from it; what is cut is refused.
func FuzzDecode(f *testing.F) {
	p := gosnmp.SnmpPacket{Version: gosnmp.Version2c, Community: "public", PDUType: gosnmp.GetResponse, RequestID: 4711, Variables: []gosnmp.SnmpPDU{
		{Name: ".1.3.6.1.2.1.1.3.0", Type: gosnmp.TimeTicks, Value: uint32(1)},
		{Name: ".1.3.6.1.2.1.1.5.0", Type: gosnmp.OctetString, Value: "name"},
		{Name: ".1.3.6.1.2.1.31.1.1.1.6.300", Type: gosnmp.Counter64, Value: uint64(math.MaxUint64)},
		{Name: ".1.3.6.1.2.1.2.2.1.8.1", Type: gosnmp.Integer, Value: -2},
		{Name: ".1.3.6.1.2.1.1.2.0", Type: gosnmp.ObjectIdentifier, Value: ".1.3.6.1.4.1.8072"},
		{Name: ".1.3.6.1.9", Type: gosnmp.EndOfMibView},
	}}
	whole, err := p.MarshalMsg()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:40])
	f.Fuzz(func(t *testing.T, data []byte) {
		requestID(data)
		a, err := decode(data)
		if err != nil {
			if !errors.Is(err, errMalformed) {
				t.Fatal(err)
			}
			return
		}
		if id, ok := requestID(data); !ok || id != a.id {
			t.Fatalf("request id %d, %v, want %d", id, ok, a.id)
		}
		got, err := bindingsOf(a)
		if err != nil {
			return
		}
		for list := a.bindings; len(list) > 0; {
			b, rest, _ := next(list)
			if !b.name.valid() {
				return // The walk refuses it.
			}
			_, _ = b.counter()
			_, _ = b.gauge()
			_, _ = b.text()
			list = rest
		}
		g := &gosnmp.GoSNMP{Version: gosnmp.Version2c}
		judge, err := g.SnmpDecodePacket(slices.Clone(data))
		if err != nil || judge == nil || len(judge.Variables) != len(got) {
			return // It is stricter about what follows a message, and about values it does not know.
		}
		for i, v := range judge.Variables {
			w := theirs(v)
			// Values that one of the two says nothing about: kinds that neither of our profiles reads, and numbers of an
			// illegal length.
			if w.value == "" || got[i].value == "" || strings.HasSuffix(got[i].value, "false") {
				continue
			}
			if w != got[i] {
				t.Errorf("binding %d: we say %+v, gosnmp says %+v", i, got[i], w)
			}
		}
	})
}

// Whatever an answer holds, a walk ends and its columns stay within their rows.
func FuzzWalk(f *testing.F) {
	f.Add([]byte("\x30\x0d\x06\x08\x2b\x06\x01\x02\x01\x01\x03\x00\x43\x01\x01\x30\x0f\x06\x0a\x2b\x06\x01\x02\x01\x02\x02\x01\x08\x01\x02\x01\x01"), int32(0), int32(0))
	f.Add([]byte{}, int32(5), int32(1))
	set, _ := loadProfiles("")
	f.Fuzz(func(t *testing.T, bindings []byte, status, index int32) {
		var r rows
		spec := set["interfaces"]
		var columns []*column
		for i := range spec.tables[0].columns {
			columns = append(columns, newColumn(&spec.tables[0].columns[i], 0))
		}
		scalars := []*scalar{{column: *newColumn(&spec.singles[0].columns[0], 1)}}
		w := &walk{rows: &r, maxRows: 50, limits: &limits{repetitions: 10, columns: 5, binding: defaultBinding}}
		w.start(scalars, columns)
		var req request
		for n := 0; w.next(&req); n++ {
			if n > 3000 {
				t.Fatal("the walk does not end")
			}
			if w.take(answer{status: status, index: index, bindings: bindings}, len(bindings)) != nil {
				break
			}
		}
		for _, c := range columns {
			if len(c.got) > r.len() {
				t.Fatalf("column with %d cells of %d rows", len(c.got), r.len())
			}
		}
	})
}
