package nats

import "kemi.dev/kemi/bus/driver"

// lacks is how many bytes a disk of this size has too few free for topics that may grow to their limits, and hold so much
// now; not above 0 when there is room for all of it, and nothing is ever held back for them.
func (d *disk) lacks(limits, used, free, size int64) int64 {
	enough := d.below(bulk, size)
	return max(0, limits-used) + enough + enough/16 - free
}

// foresee says at a start that the topics, if they are ever as large as they may be, do not fit on the disk of the embedded
// servers. Nothing is trimmed before a topic has reached its own limit, so such a disk gets short by itself.
func (d *Driver) foresee(topics []driver.Topic) {
	if d.host == nil {
		return
	}
	disk := d.host.disk
	free, size := disk.left.Load(), disk.size.Load()
	var limits, used int64
	d.mu.Lock()
	for _, want := range topics {
		limits += want.MaxBytes
		if t := d.topics[want.Name]; t != nil && t.handle != nil {
			used += int64(t.handle.CachedInfo().State.Bytes)
		}
	}
	d.mu.Unlock()
	if lacks := disk.lacks(limits, used, free, size); lacks > 0 && size > 0 {
		d.scope.Log().Warn("the topics may grow to more than the disk has room for: when it gets short, readings and jobs are held back and nothing is polled until there is room",
			"dir", disk.dir, "limits_mib", limits>>20, "used_mib", used>>20, "free_mib", free>>20, "disk_mib", size>>20, "lacking_mib", lacks>>20+1,
			"change", "set data: to a folder on a larger disk, or move the bus to brokers elsewhere (bus:)")
	}
}
