// Package compat keeps pools that an earlier release made, as that release left them on the disk, and opens them with
// this one: whatever was in them has to be there, and to work, or to be refused by name.
//
// Each pool is a pair of files in testdata: an archive of its disk or directory, and a manifest that says what
// that release had in it. Command make makes them; they are never made anew for a release that exists, and
// a release that writes something else to the disk adds its own.
package compat
