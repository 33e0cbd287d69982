package nats

import (
	"fmt"
	"sync/atomic"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/obs"
)

// What is held back while the disk is short of space.
const (
	nothing = iota
	bulk    // What comes in bulk: readings and jobs. The rest is the reserve of alerts and pages.
	everything
)

var heldBack = [...]string{nothing: "nothing", bulk: "bulk", everything: "everything"}

// disk watches the free space that the embedded servers have. A server that hits the end of the disk stops answering and
// heals only by a restart, so Publish refuses before.
type disk struct {
	dir   string
	scope obs.Scope
	// Free bytes below which bulk and everything is refused, at most: of a small disk it is a tenth and a fortieth.
	bulk, reserve int64
	held          atomic.Int32
	free          prometheus.Gauge
	refusing      [3]prometheus.Gauge
}

func newDisk(dir string, scope obs.Scope, bulkBelow, reserve int64) *disk {
	d := &disk{
		dir: dir, scope: scope, bulk: bulkBelow, reserve: reserve,
		free: scope.Gauge("kemi_bus_disk_free_bytes", "Free bytes of the disk that the embedded broker stores on.").WithLabelValues(),
	}
	refusing := scope.Gauge("kemi_bus_disk_held_back", "1 while the topics are refused because the disk is short of space: bulk are readings and jobs, everything is all.", "topics")
	for level := bulk; level <= everything; level++ {
		d.refusing[level] = refusing.WithLabelValues(heldBack[level])
	}
	return d
}

// hold decides what is held back with so much free of a disk, given what is now. What began ends only with a sixteenth
// more than it began at, so that it does not come and go.
func (d *disk) hold(free, size int64, now int) int {
	below := [...]int64{bulk: min(d.bulk, size/10), everything: min(d.reserve, size/40)}
	for level := everything; level > nothing; level-- {
		limit := below[level]
		if level <= now {
			limit += limit / 16
		}
		if free < limit {
			return level
		}
	}
	return nothing
}

// measure looks at the disk.
func (d *disk) measure() {
	var st syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &st); err != nil {
		return
	}
	free, size := int64(st.Bavail)*int64(st.Bsize), int64(st.Blocks)*int64(st.Bsize)
	d.free.Set(float64(free))
	before := int(d.held.Load())
	held := d.hold(free, size, before)
	d.held.Store(int32(held))
	for level := bulk; level <= everything; level++ {
		if level <= held {
			d.refusing[level].Set(1)
		} else {
			d.refusing[level].Set(0)
		}
	}
	switch log := d.scope.Log().With("dir", d.dir, "free_bytes", free, "disk_bytes", size); {
	case held > before:
		log.Warn("the disk is short of space, publishing is held back until there is more", "held_back", heldBack[held])
	case held < before:
		log.Info("there is space on the disk again", "held_back", heldBack[held])
	}
}

// full says that nothing at all is taken.
func (d *disk) full() bool { return d.held.Load() >= everything }

// short is the error of a Publish that is held back.
func (d *Driver) short(parcels []*parcel) error {
	if d.host == nil {
		return nil
	}
	held := d.host.disk.held.Load()
	if held == nothing {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range parcels {
		switch {
		case held >= everything:
			return fmt.Errorf("publish %d to %s: the disk is nearly full and nothing is stored any more, free some of %s: %w", len(p.msgs), p.t.Name, d.host.dir, driver.ErrFull)
		case d.wanted[p.t.Name].Bulk:
			return fmt.Errorf("publish %d to %s: the disk is short of space and what comes in bulk is held back, free some of %s: %w", len(p.msgs), p.t.Name, d.host.dir, driver.ErrFull)
		}
	}
	return nil
}
