package snmp

import "fmt"

// Error statuses (RFC 3416, 3) that are dealt with in their own way.
const (
	statusTooBig             = 1
	statusNoSuchName         = 2
	statusNoAccess           = 6
	statusAuthorizationError = 16
)

// statusName gives the name that RFC 3416 gives an error status.
func statusName(status int32) string {
	names := [...]string{
		"noError", "tooBig", "noSuchName", "badValue", "readOnly", "genErr", "noAccess", "wrongType", "wrongLength",
		"wrongEncoding", "wrongValue", "noCreation", "inconsistentValue", "resourceUnavailable", "commitFailed",
		"undoFailed", "authorizationError", "notWritable", "inconsistentName",
	}
	if status < 0 || int(status) >= len(names) {
		return fmt.Sprintf("error status %d", status)
	}
	return names[status]
}

// refused deals with an error status: what is too big is asked for in smaller pieces, from then on; what the agent has
// an error with is given up, alone where the agent says what it is or where it can be found out.
func (w *walk) refused(status int32, index int) {
	if status == statusTooBig && w.smaller() {
		return
	}
	why := fmt.Sprintf("the agent says %s", statusName(status))
	if status == statusNoAccess || status == statusAuthorizationError {
		why += " (this community may not read it)"
	}
	switch i := index - 1; {
	case i >= 0 && i < len(w.asked):
		w.asked[i].fail(why)
	case i >= 0 && i < len(w.asked)+len(w.active):
		w.active[i-len(w.asked)].fail(why)
		w.truncated = w.truncated || w.rows.len() > 0
	case len(w.asked)+len(w.active) > 1: // It does not say what is wrong: find out.
		switch {
		case len(w.asked) > 0 && len(w.active) > 0:
			w.apart = true
		case len(w.active) > 1:
			w.mostColumns = len(w.active) / 2
		default:
			w.mostScalars = len(w.asked) / 2
		}
	case len(w.active) == 1:
		w.active[0].fail(why)
		w.truncated = w.truncated || w.rows.len() > 0
	default:
		w.asked[0].fail(why)
	}
}

// smaller lowers what goes into one request and is answered in one; false means that it is as little as can be.
func (w *walk) smaller() bool {
	switch {
	case w.size > 1:
		w.limits.repetitions = max(1, min(w.limits.repetitions, w.size)/2)
	case len(w.asked) > 0 && len(w.active) > 0:
		w.apart = true
	case len(w.active) > 1:
		w.limits.columns = max(1, len(w.active)/2)
		w.mostColumns = w.limits.columns
	case len(w.asked) > 1:
		w.mostScalars = len(w.asked) / 2
	default:
		return false
	}
	return true
}
