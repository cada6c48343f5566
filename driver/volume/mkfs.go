package volume

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// mkfsOptions are the options that a caller may give to the mkfs of each file system. All of them take
// a value. Whatever is not here is refused: mkfs runs as root, and it has options that read a directory
// or a device of the node into the new file system, write to another device, discard the blocks of the
// volume, or do everything except make a file system.
//
// No btrfs is given a UUID: all volumes of a class would have it, and a kernel before 6.7 tells devices apart
// by it and mounts one of them at a time. It does ext4 no harm, and xfs is mounted without a look at it.
//
// The value is any word, or where there is a list, what is in the list: words with commas between them,
// each of which may have a value (stride=16).
var mkfsOptions = map[FSType]map[string][]string{
	Ext4: {
		"-b": nil, "-C": nil, "-G": nil, "-g": nil, "-I": nil, "-i": nil, "-L": nil, "-m": nil, "-N": nil, "-T": nil, "-U": nil,
		"-E": {
			"encoding", "encoding_flags", "hash_seed", "lazy_itable_init", "lazy_journal_init", "mmp_update_interval", "num_backup_sb",
			"orphan_file_size", "packed_meta_blocks", "quotatype", "resize", "root_owner", "root_perms", "stride", "stripe-width", "stripe_width",
		},
		"-J": {"size"},
		"-O": {
			"64bit", "bigalloc", "casefold", "dir_index", "dir_nlink", "ea_inode", "encrypt", "ext_attr", "extent", "extents", "extra_isize",
			"fast_commit", "filetype", "flex_bg", "has_journal", "huge_file", "inline_data", "large_dir", "large_file", "meta_bg",
			"metadata_csum", "metadata_csum_seed", "mmp", "none", "orphan_file", "project", "quota", "resize_inode", "sparse_super",
			"sparse_super2", "stable_inodes", "uninit_bg", "verity",
		},
	},
	XFS: {
		"-L": nil,
		"-b": {"log", "size"},
		"-d": {
			"agcount", "agsize", "concurrency", "cowextsize", "daxinherit", "extszinherit", "noalign", "projinherit", "sectlog", "sectsize",
			"su", "sunit", "sw", "swidth", "unwritten",
		},
		"-i": {"align", "attr", "exchange", "maxpct", "nrext64", "perblock", "projid32bit", "size", "sparse"},
		"-l": {"agnum", "concurrency", "lazy-count", "sectlog", "sectsize", "size", "su", "sunit", "version"},
		"-m": {"autofsck", "bigtime", "crc", "finobt", "inobtcount", "metadir", "reflink", "rmapbt", "uuid"},
		"-n": {"ftype", "log", "parent", "size", "version"},
		"-s": {"log", "size"},
	},
	Btrfs: {
		"-L": nil, "--label": nil, "-n": nil, "--nodesize": nil, "-s": nil, "--sectorsize": nil, "--csum": nil, "--checksum": nil,
		"-d": {"single", "dup"}, "--data": {"single", "dup"},
		"-m": {"single", "dup"}, "--metadata": {"single", "dup"},
		"-O": btrfsFeatures, "--features": btrfsFeatures, "-R": btrfsFeatures, "--runtime-features": btrfsFeatures,
	},
}

// btrfsFeatures leaves out those that need several devices or a zoned one.
var btrfsFeatures = []string{"block-group-tree", "extref", "free-space-tree", "mixed-bg", "no-holes", "quota", "skinny-metadata", "squota"}

// mkfsWord is what names, numbers, labels and UUIDs are made of: nothing that is a path or an option.
var mkfsWord = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9^][A-Za-z0-9=,:.^_+-]*$`) })

// maxMkfsWord is the longest value that is a word, in bytes. Only a label of btrfs could be longer.
const maxMkfsWord = 64

// mkfsOption is an option with its value.
type mkfsOption struct{ name, value string }

// CheckMkfs says whether the options for mkfs are ones of the given file system. The kind of its error
// is Invalid.
func (p Parameters) CheckMkfs(t FSType) error {
	options, err := parseMkfsOptions(p.MkfsOptions)
	if err != nil {
		return err
	}
	for _, o := range options {
		if !o.allowed(t) {
			return Errorf(Invalid, `parameter %q: %q is not among the options that can be given for %s`, KeyMkfsOptions, o.shown(), t)
		}
	}
	return nil
}

// readMkfsOptions returns options of mkfs as they are kept: "-m 1" however it was written. Which file
// system they are for may be known only later, so they must all be options of some. The kind of its
// error is Invalid.
func readMkfsOptions(text string) (string, error) {
	options, err := parseMkfsOptions(text)
	if err != nil {
		return "", err
	}
	types, words := FSTypes(), []string{}
	for _, o := range options {
		if !slices.ContainsFunc(FSTypes(), o.allowed) {
			return "", Errorf(Invalid, `parameter %q: %q is not among the options that can be given, which are %s`, KeyMkfsOptions, o.shown(), allowedMkfs())
		}
		if types = slices.DeleteFunc(types, func(t FSType) bool { return !o.allowed(t) }); len(types) == 0 {
			return "", Errorf(Invalid, `parameter %q: %q is for another file system than the options before it`, KeyMkfsOptions, o.shown())
		}
		words = append(words, o.name, o.value)
	}
	return strings.Join(words, " "), nil
}

// parseMkfsOptions takes a text apart: "-m 1", "-m1", "--label silo" and "--label=silo". An option can be
// there once, since of several a mkfs reads only the last one, and loam adds to some. The kind of its
// error is Invalid.
func parseMkfsOptions(text string) ([]mkfsOption, error) {
	words, options := strings.Fields(text), []mkfsOption{}
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		o, joined := mkfsOption{name: word}, false
		switch {
		case strings.HasPrefix(word, "--") && len(word) > 2:
			o.name, o.value, joined = strings.Cut(word, "=")
		case !strings.HasPrefix(word, "-") || len(word) == 1 || word == "--":
			return nil, Errorf(Invalid, `parameter %q: %.64q is not an option of mkfs; write for example "-i 8192 -m 1"`, KeyMkfsOptions, word)
		case len(word) > 2:
			o.name, o.value, joined = word[:2], word[2:], true
		}
		if !joined && len(words) > 0 {
			o.value = words[0]
			words = words[1:]
		}
		if !mkfsWord().MatchString(o.value) {
			return nil, Errorf(Invalid, `parameter %q: option %.32q has the value %.64q, which cannot be one`, KeyMkfsOptions, o.name, o.value)
		}
		if slices.ContainsFunc(options, func(other mkfsOption) bool { return other.name == o.name }) {
			return nil, Errorf(Invalid, `parameter %q: option %.32q is there twice: give its values once, with commas between them`, KeyMkfsOptions, o.name)
		}
		options = append(options, o)
	}
	return options, nil
}

// allowed reports whether the option may be given to the mkfs of t.
func (o mkfsOption) allowed(t FSType) bool {
	list, known := mkfsOptions[t][o.name]
	if list == nil {
		return known && len(o.value) <= maxMkfsWord
	}
	for part := range strings.SplitSeq(o.value, ",") {
		key, _, _ := strings.Cut(strings.TrimPrefix(part, "^"), "=")
		if !slices.Contains(list, key) {
			return false
		}
	}
	return true
}

func (o mkfsOption) shown() string {
	if text := o.name + " " + o.value; len(text) <= 64 {
		return text
	}
	return printable(o.name + " " + o.value)[:64] + "..."
}

// allowedMkfs lists the options of each file system for a message.
func allowedMkfs() string {
	var texts []string
	for _, t := range FSTypes() {
		texts = append(texts, string(t)+": "+strings.Join(slices.Sorted(maps.Keys(mkfsOptions[t])), " "))
	}
	return strings.Join(texts, ", ")
}
