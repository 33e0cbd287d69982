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
	left, size    atomic.Int64 // Bytes, when it was last looked at.
	free          prometheus.Gauge
	refusing      [3]prometheus.Gauge
}

func newDisk(dir string, scope obs.Scope, bulkBelow, reserve int64) *disk {
	d := &disk{
		dir: dir, scope: scope, bulk: bulkBelow, reserve: reserve,
		free: scope.Gauge("kemi_bus_disk_free_bytes", "Free bytes of the disk that the embedded broker stores on.").WithLabelValues(),
	}
	refusing := scope.Gauge("kemi_bus_disk_held_back", "1 while the topics are refused because the disk of the embedded broker is short of space: bulk are readings and jobs, without which nothing is polled; everything is all.", "topics")
	for level := bulk; level <= everything; level++ {
		d.refusing[level] = refusing.WithLabelValues(heldBack[level])
	}
	return d
}

// hold decides what is held back with so much free of a disk, given what is now. What began ends only with a sixteenth
// more than it began at, so that it does not come and go.
func (d *disk) hold(free, size int64, now int) int {
	for level := everything; level > nothing; level-- {
		limit := d.below(level, size)
		if level <= now {
			limit += limit / 16
		}
		if free < limit {
			return level
		}
	}
	return nothing
}

// below is with how much less free of a disk the level begins.
func (d *disk) below(level int, size int64) int64 {
	if level == everything {
		return min(d.reserve, size/40)
	}
	return min(d.bulk, size/10)
}

// measure looks at the disk.
func (d *disk) measure() {
	var st syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &st); err != nil {
		return
	}
	free, size := int64(st.Bavail)*int64(st.Bsize), int64(st.Blocks)*int64(st.Bsize)
	d.free.Set(float64(free))
	d.left.Store(free)
	d.size.Store(size)
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

// says tells what is held back, why and what to do; "" while nothing is.
func (d *disk) says() (all bool, text string) {
	held, size := int(d.held.Load()), d.size.Load()
	what := "what comes in bulk is held back: nothing is polled, so that alerts and pages have room"
	switch held {
	case nothing:
		return false, ""
	case everything:
		what = "nothing is stored any more"
	}
	enough := d.below(bulk, size)
	return held == everything, fmt.Sprintf("the disk is short of space, %d MiB of %d are free at %s, and %s: free some, from %d MiB on everything goes on by itself",
		d.left.Load()>>20, size>>20, d.dir, what, (enough+enough/16)>>20+1)
}

// Held implements driver.Rationer. The disks of servers elsewhere are looked after there.
func (d *Driver) Held() (all bool, why string) {
	if d.host == nil {
		return false, ""
	}
	return d.host.disk.says()
}

// short is the error of a Publish that is held back.
func (d *Driver) short(parcels []*parcel) error {
	all, why := d.Held()
	if why == "" {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range parcels {
		if all || d.wanted[p.t.Name].Bulk {
			return fmt.Errorf("publish %d to %s: %w: %s", len(p.msgs), p.t.Name, driver.ErrFull, why)
		}
	}
	return nil
}

// tight is the error of anything that the servers did not answer while nothing is stored.
func (d *disk) tight() error {
	if all, why := d.says(); all {
		return fmt.Errorf("%w: %s", driver.ErrFull, why)
	}
	return nil
}
