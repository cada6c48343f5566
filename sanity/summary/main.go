// Command summary reads what `go test -json` prints and says what matters of it: the output of what
// failed, a line for each package, each skipped test with its reason, and a closing line with the
// counts. Lines of test output that begin with "count: " are let through, also of tests that pass. The
// exit code is 1 if anything failed, or if no test ran.
package main

import (
	"fmt"
	"os"
)

func main() {
	s := newSummary(os.Stdout)
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "summary:", err)
		os.Exit(2)
	}
	if !s.close() {
		os.Exit(1)
	}
}
