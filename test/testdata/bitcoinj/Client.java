// The light client of the tests: bitcoinj with one peer. The SOCKS5 proxy is the Java runtime's own, set by
// -DsocksProxyHost and -DsocksProxyPort; the test writes ThroughProxy.java, which uses it. With a third argument it is
// bitcoinj's default PeerGroup, which knows no proxy. It prints a line of JSON for every block that becomes its tip, and
// ends at the height that it is given.

import java.net.InetAddress;
import java.util.concurrent.CountDownLatch;
import org.bitcoinj.core.BlockChain;
import org.bitcoinj.core.Context;
import org.bitcoinj.core.NetworkParameters;
import org.bitcoinj.core.PeerAddress;
import org.bitcoinj.core.PeerGroup;
import org.bitcoinj.core.VersionMessage;
import org.bitcoinj.params.RegTestParams;
import org.bitcoinj.store.MemoryBlockStore;

class Client {
    public static void main(String[] args) throws Exception {
        String[] peer = args[0].split(":");
        int until = Integer.parseInt(args[1]);
        NetworkParameters params = RegTestParams.get();
        Context.propagate(new Context());
        BlockChain chain = new BlockChain(params.network(), new MemoryBlockStore(params.getGenesisBlock()));
        CountDownLatch done = new CountDownLatch(1);
        chain.addNewBestBlockListener(Runnable::run, block -> {
            System.out.printf("{\"height\":%d,\"hash\":\"%s\"}%n", block.getHeight(), block.getHeader().getHashAsString());
            if (block.getHeight() >= until) {
                done.countDown();
            }
        });
        PeerGroup group = args.length > 2 ? new PeerGroup(params.network(), chain) : ThroughProxy.peerGroup(params.network(), chain);
        // btcd does not take bitcoinj's sendaddrv2 from a peer whose protocol version is older than that message.
        VersionMessage version = new VersionMessage(params, 0);
        version.clientVersion = 70016;
        group.setVersionMessage(version);
        group.setUseLocalhostPeerWhenPossible(false);
        group.addAddress(PeerAddress.simple(InetAddress.getByName(peer[0]), Integer.parseInt(peer[1])));
        group.start();
        group.downloadBlockChain();
        done.await();
        group.stop();
        System.exit(0);
    }
}
