package notify

// Reacher is a Notifier that knows before a page is due whom it could not reach. One that has no such method reaches
// everybody, as far as can be known.
type Reacher interface {
	// Lacks says what keeps pages by this receiver from a person, by key, or with "" from a place where a team reads, and
	// what to do; "" when nothing does.
	Lacks(person string, c Contact) (what, do string)
}
