package kafka

import (
	"slices"
	"testing"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/obs"
)

// piece is one batch of a log, written by hand.
type piece struct {
	producer      int64
	transactional bool
	ends          string // "commit" or "abort": a control batch.
	values        []string
}

// logOf makes the bytes of a log that begins at offset base.
func logOf(t testing.TB, base int64, pieces ...piece) []byte {
	var out []byte
	for _, p := range pieces {
		s := &sealed{}
		var data []byte
		if p.ends != "" {
			kind := byte(0)
			if p.ends == "commit" {
				kind = 1
			}
			if err := s.add(&driver.Record{Key: "x", Value: []byte{0}}, latest(), 0); err != nil {
				t.Fatal(err)
			}
			s.bodies = []byte{8, 0, 0, 0, kind, 2, 0, 0} // A key of 4 bytes: version 0, kind; a value; no headers.
			s.ends = []int{len(s.bodies)}
		} else {
			for _, v := range p.values {
				if err := s.add(&driver.Record{Key: "k", Value: []byte(v)}, latest(), 0); err != nil {
					t.Fatal(err)
				}
			}
		}
		data = appendBatch(nil, producer{id: p.producer, transactional: p.transactional}, 1, s)
		if p.ends != "" {
			data[22] |= attrControl
			seal(data)
		}
		for i := range 8 {
			data[i] = byte(base >> (56 - 8*i))
		}
		base += int64(s.count())
		out = append(out, data...)
	}
	return out
}

func values(ds []driver.Delivery) []string {
	var out []string
	for _, d := range ds {
		out = append(out, string(d.Record.Value))
	}
	return out
}

func quiet() *Driver { return &Driver{tuning: quick(), scope: obs.Scope{}} }

func TestAbortedRecordsAreLeftOutAndPositionsMoveOn(t *testing.T) {
	const one, two = 11, 22
	log := logOf(
		t, 0,
		piece{producer: one, transactional: true, values: []string{"a0", "a1"}}, // 0, 1
		piece{producer: -1, values: []string{"plain"}},                          // 2
		piece{producer: two, transactional: true, values: []string{"b"}},        // 3
		piece{producer: one, transactional: true, ends: "abort"},                // 4
		piece{producer: one, transactional: true, values: []string{"c"}},        // 5
		piece{producer: two, transactional: true, ends: "commit"},               // 6
		piece{producer: one, transactional: true, ends: "commit"},               // 7
		piece{producer: two, transactional: true, values: []string{"d"}},        // 8
		piece{producer: two, transactional: true, ends: "abort"},                // 9
	)
	for from, want := range map[int64][]string{
		0: {"plain", "b", "c"}, 1: {"plain", "b", "c"}, 3: {"b", "c"}, 4: {"c"}, 6: nil,
	} {
		r := newReader(quiet(), latest(), 0, from)
		p, err := r.read(fetched{records: log, aborted: []aborted{{one, 0}, {two, 8}}})
		if err != nil || !slices.Equal(values(p.ds), want) || p.next != 10 || r.next != 10 {
			t.Errorf("from %d: %q up to %d, %v; want %q", from, values(p.ds), p.next, err, want)
		}
	}
}

func TestABatchThatBeginsBeforeTheNextRecordGivesOnlyWhatIsNext(t *testing.T) {
	r := newReader(quiet(), latest(), 0, 6)
	p, err := r.read(fetched{records: logOf(t, 5, piece{producer: -1, values: []string{"5", "6", "7"}})})
	if err != nil || !slices.Equal(values(p.ds), []string{"6", "7"}) || p.next != 8 || p.ds[0].Position != 7 {
		t.Errorf("%q up to %d, %v", values(p.ds), p.next, err)
	}
}

// After compaction a batch keeps its last offset although that record is gone, and may have none left.
func TestAnEmptyBatchMovesOn(t *testing.T) {
	data := logOf(t, 5, piece{producer: -1, values: []string{"x", "y"}})[:batchHeader]
	data[8], data[9], data[10], data[11] = 0, 0, 0, batchHeader-12
	copy(data[57:61], []byte{0, 0, 0, 0})
	seal(data)
	r := newReader(quiet(), latest(), 0, 5)
	if p, err := r.read(fetched{records: data}); err != nil || len(p.ds) != 0 || p.next != 7 {
		t.Errorf("%q up to %d, %v", values(p.ds), p.next, err)
	}
}

func TestATornBatchIsLeftForTheNextFetch(t *testing.T) {
	log := logOf(t, 0, piece{producer: -1, values: []string{"0"}}, piece{producer: -1, values: []string{"1"}})
	r := newReader(quiet(), latest(), 0, 0)
	p, err := r.read(fetched{records: log[:len(log)-1]})
	if err != nil || !slices.Equal(values(p.ds), []string{"0"}) || p.next != 1 {
		t.Errorf("%q up to %d, %v", values(p.ds), p.next, err)
	}
}

func TestABatchThatCannotBeReadIsAskedForAgainAndThenPassedOver(t *testing.T) {
	log := logOf(t, 0, piece{producer: -1, values: []string{"0"}}, piece{producer: -1, values: []string{"1"}}, piece{producer: -1, values: []string{"2"}})
	log[len(log)/3+30] ^= 1
	r := newReader(quiet(), latest(), 0, 0)
	p, err := r.read(fetched{records: log})
	if err != nil || !slices.Equal(values(p.ds), []string{"0"}) || p.next != 1 {
		t.Fatalf("%q up to %d, %v", values(p.ds), p.next, err)
	}
	rest := log[len(log)/3:]
	for range tries - 1 {
		if p, err := r.read(fetched{records: rest}); err == nil {
			t.Fatalf("%q up to %d", values(p.ds), p.next)
		}
	}
	p, err = r.read(fetched{records: rest})
	if err != nil || !slices.Equal(values(p.ds), []string{"2"}) || p.next != 3 {
		t.Errorf("%q up to %d, %v", values(p.ds), p.next, err)
	}
}

// A leader in another rack gives nothing and names a replica: that is no hole, and the replica is asked.
func TestANearerReplicaIsReadFromAndNothingPassedOver(t *testing.T) {
	r := newReader(quiet(), latest(), 0, 5)
	for range 3 {
		p, err := r.turn(fetched{near: 2, stable: 1000, high: 1000}, 1)
		if err != nil || p.next != 5 || r.next != 5 || r.near == nil || *r.near != 2 {
			t.Fatalf("at %d of %d, near %v: %v", r.next, p.next, r.near, err)
		}
	}
	for range 3 { // The replica may not have it yet.
		p, err := r.turn(fetched{near: -1, stable: 1000, high: 1000}, 2)
		if err != nil || p.next != 5 || r.next != 5 {
			t.Fatalf("at %d of %d: %v", r.next, p.next, err)
		}
	}
}

func TestAHoleAtTheEndIsPassedOverWhenItWasSeenTwice(t *testing.T) {
	r := newReader(quiet(), latest(), 0, 5)
	for i, want := range []int64{5, 9, 9} {
		p := page{next: r.next, stable: 9}
		if r.leap(&p, 0); r.next != want || p.next != want {
			t.Errorf("after %d empty answers: %d, want %d", i+1, r.next, want)
		}
	}
	p := page{next: 9, stable: 12}
	r.leap(&p, 0)
	p = page{next: 9, stable: 12}
	if r.leap(&p, 100); r.next != 9 {
		t.Error("passed over what came")
	}
}
