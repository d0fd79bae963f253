# serving.pl GATEWAY RESOLVER ZONE FILE: asks both, again and again; ends when everything was answered as committed
# once, and prints when that was, in milliseconds of the clock of `date`.
#
# FILE has one line a namespace: NAMESPACE INSTANCES. The gateway answers for Host NAMESPACE.test with the
# name of one of its instances; the resolver has as many addresses for web.NAMESPACE.ZONE.
use strict;
use warnings;
use IO::Socket::INET;
use Time::HiRes qw(time sleep);

my ($gateway, $resolver, $zone, $file) = @ARGV;
my %routes = my %names = map { split } do { open my $in, '<', $file or die "$file: $!\n"; <$in> };
my $patience = time + 60;

sub route_served {
	my ($ns) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => $gateway, Timeout => 1) or return 0;
	print $socket "GET / HTTP/1.1\r\nHost: $ns.test\r\nConnection: close\r\n\r\n";
	my $answer = do { local $/; <$socket> } // '';
	return $answer =~ m{^HTTP/1\.1 200 .*\r\n\r\n$ns-web-}s;
}

sub name_served {
	my ($ns, $count) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => $resolver, Proto => 'udp') or return 0;
	my $name = join '', map { pack 'C/a', $_ } split /\./, "web.$ns.$zone";
	# One A question, with room for a large answer (EDNS).
	my $query = pack('n6', 7, 0x0100, 1, 0, 0, 1) . "$name\0" . pack('n2', 1, 1) . pack('CnnNn', 0, 41, 4096, 0, 0);
	$socket->send($query) or return 0;
	vec(my $ready = '', fileno $socket, 1) = 1;
	select($ready, undef, undef, 0.2) > 0 or return 0;
	defined $socket->recv(my $answer, 4096) or return 0;
	my (undef, $flags, undef, $answers) = unpack 'n4', $answer;
	return ($flags & 15) == 0 && $answers == $count;
}

while (%routes or %names) {
	for my $ns (sort keys %routes) {
		delete $routes{$ns} if route_served($ns);
	}
	for my $ns (sort keys %names) {
		delete $names{$ns} if name_served($ns, $names{$ns});
	}
	die 'not served: ' . join(' ', (map { "$_.test" } sort keys %routes), map { "web.$_" } sort keys %names) . "\n"
		if time > $patience;
	sleep 0.002;
}
printf "%.0f\n", time * 1000;
