package kafka

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol"
	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/driver"
)

func latest() *topic {
	return &topic{Topic: driver.Topic{Name: "t", Kind: driver.Latest, Partitions: 4}, name: "kemi.t", parts: 4, maxBatch: defaultBatch}
}

// some draws a record.
func some(t *rapid.T) driver.Record {
	text := rapid.StringN(0, 20, -1)
	r := driver.Record{
		Topic: "t", Partition: 2, Key: rapid.StringMatching(`[a-z/.]{0,8}`).Draw(t, "key"), ID: text.Draw(t, "id"),
		Value: rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "value"),
	}
	if rapid.Bool().Draw(t, "removed") {
		r.Value = nil
	} else if r.Value == nil {
		r.Value = []byte{}
	}
	for range rapid.IntRange(0, 3).Draw(t, "headers") {
		r.Headers = append(r.Headers, driver.Header{Name: "x-" + text.Draw(t, "name"), Value: text.Draw(t, "of")})
	}
	return r
}

func TestWhatGoesIntoABatchComesOutOfIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topic := latest()
		var want []driver.Record
		var parts []*sealed
		for range rapid.IntRange(1, 4).Draw(t, "parts") {
			s := &sealed{}
			for range rapid.IntRange(1, 5).Draw(t, "records") {
				r := some(t)
				if err := s.add(&r, topic, rapid.Uint64Range(0, 3).Draw(t, "epoch")); err != nil {
					t.Fatal(err)
				}
				want = append(want, r)
			}
			parts = append(parts, s)
		}
		size := 0
		for _, s := range parts {
			size += s.size()
		}
		at := time.UnixMilli(rapid.Int64Range(0, 1<<40).Draw(t, "at"))
		p := producer{rapid.Int64().Draw(t, "id"), 7, 3, rapid.Bool().Draw(t, "transactional")}
		data := appendBatch([]byte("before"), p, at.UnixMilli(), parts...)[len("before"):]
		if len(data) > size {
			t.Fatalf("%d bytes, promised at most %d", len(data), size)
		}
		h, body, rest, err := nextBatch(append(data, "after"...))
		if err != nil || string(rest) != "after" || h.records != len(want) || h.producer != p.id || h.last != int64(len(want)-1) {
			t.Fatalf("%+v, %q, %v", h, rest, err)
		}
		d := decoder{t: topic, partition: 2}
		from := int64(rapid.IntRange(0, len(want)).Draw(t, "from"))
		got, err := d.decode(h, body, from, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range got {
			if x.Position != from+int64(i)+1 || !x.Stored.Equal(at) || x.Partition != 2 {
				t.Fatalf("delivery %d: %+v", i, x)
			}
			if diff := cmp.Diff(want[int(from)+i], x.Record); diff != "" {
				t.Fatal(diff)
			}
		}
		if len(got) != len(want)-int(from) {
			t.Fatalf("%d records from %d of %d", len(got), from, len(want))
		}
	})
}

// kafka-go is another reader of the same format.
func TestBatchesAreThoseOfOthers(t *testing.T) {
	s := &sealed{}
	for _, r := range []driver.Record{
		{Key: "a", Value: []byte("1"), ID: "an id", Headers: []driver.Header{{Name: "n", Value: "v"}}}, {Key: "b"}, {Key: "c", Value: []byte{}},
	} {
		if err := s.add(&r, latest(), 9); err != nil {
			t.Fatal(err)
		}
	}
	data := appendBatch(nil, nobody, 1234, s)
	var set protocol.RecordSet
	if _, err := set.ReadFrom(bytes.NewReader(append([]byte{0, 0, byte(len(data) >> 8), byte(len(data))}, data...))); err != nil {
		t.Fatal(err)
	}
	type row struct {
		Key, Value string
		Headers    []protocol.Header
	}
	var got []row
	for {
		r, err := set.Records.ReadRecord()
		if err != nil {
			break
		}
		key, _ := protocol.ReadAll(r.Key)
		value := []byte("(none)")
		if r.Value != nil {
			value, _ = protocol.ReadAll(r.Value)
		}
		if r.Time.UnixMilli() != 1234 {
			t.Errorf("time %s", r.Time)
		}
		got = append(got, row{string(key), string(value), r.Headers})
	}
	epoch := protocol.Header{Key: headerEpoch, Value: []byte("9")}
	want := []row{
		{"a", "1", []protocol.Header{{Key: "n", Value: []byte("v")}, {Key: headerID, Value: []byte("an id")}, epoch}},
		{"b", "(none)", []protocol.Header{epoch}},
		{"c", "", []protocol.Header{epoch}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Others may compress, write no key, no headers, and let the broker say the time.
func TestRecordsOfOthersAreRead(t *testing.T) {
	for _, codec := range []compress.Compression{compress.None, compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd} {
		var out bytes.Buffer
		set := protocol.RecordSet{
			Version: 2, Attributes: protocol.Attributes(codec),
			Records: protocol.NewRecordReader(protocol.Record{Value: protocol.NewBytes([]byte("hello"))}, protocol.Record{Key: protocol.NewBytes([]byte("k"))}),
		}
		if _, err := set.WriteTo(&out); err != nil {
			t.Fatal(err)
		}
		h, body, _, err := nextBatch(out.Bytes()[4:])
		if err != nil {
			t.Fatal(err)
		}
		if body, err = h.unpack(body); err != nil {
			t.Fatalf("%s: %v", codec, err)
		}
		h.attributes |= attrAppendTime
		h.end = 77
		d := decoder{t: latest()}
		got, err := d.decode(h, body, 0, nil)
		if err != nil || len(got) != 2 || string(got[0].Record.Value) != "hello" || got[0].Record.Key != "" || got[1].Record.Value != nil || got[1].Stored.UnixMilli() != 77 {
			t.Errorf("%s: %+v, %v", codec, got, err)
		}
	}
}

func TestDamagedBatchesAreNotRead(t *testing.T) {
	s := &sealed{}
	if err := s.add(&driver.Record{Key: "k", Value: []byte("value")}, latest(), 0); err != nil {
		t.Fatal(err)
	}
	good := appendBatch(nil, nobody, 1, s)
	for n := range good {
		if _, _, _, err := nextBatch(good[:n]); !errors.Is(err, errTorn) {
			t.Fatalf("%d of %d bytes: %v", n, len(good), err)
		}
	}
	for i := 12; i < len(good); i++ {
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		_, _, _, err := nextBatch(bad)
		if err == nil && i > 15 { // Who led the partition is not part of the checksum.
			t.Fatalf("byte %d: taken", i)
		}
	}
}

func FuzzDecode(f *testing.F) {
	s := &sealed{}
	for _, r := range []driver.Record{{Key: "a", Value: []byte("1"), ID: "id", Headers: []driver.Header{{Name: "n", Value: "v"}}}, {Key: "b"}} {
		if err := s.add(&r, latest(), 4); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(appendBatch(nil, nobody, 1, s)[batchHeader:], 2)
	f.Add([]byte{}, 1)
	f.Add([]byte{0x02, 0x00}, math.MaxInt32)
	f.Fuzz(func(_ *testing.T, body []byte, records int) {
		d := decoder{t: latest()}
		_, _ = d.decode(header{records: min(records, 1<<20)}, body, 0, nil)
		isAbort(body)
	})
}

func FuzzAnswers(f *testing.F) {
	s := &sealed{}
	if err := s.add(&driver.Record{Key: "k", Value: []byte("v")}, latest(), 0); err != nil {
		f.Fatal(err)
	}
	f.Add(appendBatch(nil, nobody, 1, s))
	f.Add(make([]byte, 200))
	f.Fuzz(func(t *testing.T, data []byte) {
		for rest := data; ; {
			h, body, more, err := nextBatch(rest)
			if errors.Is(err, errTorn) {
				break
			}
			if err == nil {
				_, _ = h.unpack(body)
			}
			if len(more) >= len(rest) {
				t.Fatal("it does not move on")
			}
			rest = more
		}
		_, _ = parseFetch(&parser{data: data})
		_ = parseProduce(&parser{data: data}, 1)
		_, _ = parseLogDirs(&parser{data: data})
	})
}
