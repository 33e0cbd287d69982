package outlet

import (
	"slices"

	"kemi.dev/kemi/bus/driver"
)

// What is fetched ahead at most, in records and, roughly, in bytes: more is added while there is less than this.
const (
	Ahead      = 512
	AheadBytes = 4 << 20
)

// Buffer is what was fetched and not handed out yet. The zero Buffer is empty.
type Buffer struct {
	ds    []driver.Delivery
	bytes int
}

// Weight is about how many bytes of memory a delivery takes.
func Weight(d *driver.Delivery) int { return len(d.Record.Key) + len(d.Record.Value) + 256 }

// Len is how many deliveries there are.
func (b *Buffer) Len() int { return len(b.ds) }

// Room is how many more there may be; 0 when what is there is large.
func (b *Buffer) Room() int {
	if b.bytes >= AheadBytes {
		return 0
	}
	return max(0, Ahead-len(b.ds))
}

// Put appends deliveries, also where there is no room for them.
func (b *Buffer) Put(ds ...driver.Delivery) {
	b.ds = append(b.ds, ds...)
	for i := range ds {
		b.bytes += Weight(&ds[i])
	}
}

// Take hands out the first n, which are there.
func (b *Buffer) Take(n int) []driver.Delivery {
	out := b.ds[:n:n]
	if b.ds = b.ds[n:]; len(b.ds) == 0 {
		*b = Buffer{}
		return out
	}
	for i := range out {
		b.bytes -= Weight(&out[i])
	}
	return out
}

// Keep drops what is not to stay.
func (b *Buffer) Keep(stays func(*driver.Delivery) bool) {
	b.ds = slices.DeleteFunc(b.ds, func(d driver.Delivery) bool {
		if stays(&d) {
			return false
		}
		b.bytes -= Weight(&d)
		return true
	})
}
