package words

import (
	"strings"
)

// Bounds of a message's parts, in characters: texts come from rules, devices and other people's alerts.
const (
	maxTitle       = 250
	maxName        = 120
	maxSummary     = 300
	maxDescription = 1000
	maxText        = 4000
	maxTextLines   = 60
	maxURL         = 2000 // Bytes.
)

// indent puts a text of several lines below a first one.
func indent(s, by string) string { return strings.ReplaceAll(s, "\n", "\n"+by) }
